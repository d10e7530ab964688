"""One order carried out, in the process that fetches: what is here, what comes, what it is called then."""

from __future__ import annotations

import errno
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ai_core.catalog.fetched import FetchedFile, Record, Selection, read_record, selection_key, write_record
from ai_core.catalog.hub.choice import Choice, DoesNotFit, NothingToFetch, RemoteFile, Wish, choose
from ai_core.catalog.hub.client import Hub, HubAway, HubError, Repository
from ai_core.catalog.hub.fetched_files import forget_unused
from ai_core.catalog.hub.incoming import Incoming, checksum, digest_of
from ai_core.catalog.hub.locking import locked
from ai_core.catalog.hub.messages import Completed, Event, Failed, Moved, Order, Planned, Problem, Waiting
from ai_core.catalog.hub.patience import Patience
from ai_core.catalog.hub.sizes import in_words

KEEP_FREE = 268_435_456
"""Bytes of the disk that a download leaves to others."""
_SAY_SECONDS = 0.2
_LOCKED = "Another process is fetching from the same repository"

Tell = Callable[[Event], None]
Result = TypeVar("Result")


class Fetching:
    """One order. ``tell`` hears how it goes; nothing is told after a Completed or Failed."""

    def __init__(self, order: Order, hub: Hub, tell: Tell) -> None:
        self._order = order
        self._hub = hub
        self._tell = tell
        self._folder = Path(order.folder)
        self._incoming = Incoming(self._folder)
        self._patience = Patience(order.attempts)

    def run(self) -> None:
        """Fetch, check and publish, or tell why not."""
        try:
            with locked(self._folder, self._waits_for_others):
                self._fetch()
        except HubError as error:
            self._tell(Failed(error.problem, str(error)))
        except DoesNotFit as error:
            self._tell(Failed("does_not_fit", str(error)))
        except NothingToFetch as error:
            self._tell(Failed("nothing_to_fetch", f"{self._order.repository}: {error}"))
        except HubAway as error:
            self._tell(Failed(error.problem, f"{error}. Try again later.", error.retry_after))
        except OSError as error:
            problem: Problem = "disk_full" if error.errno == errno.ENOSPC else "failed"
            self._tell(Failed(problem, f"{error.strerror or error}: {error.filename or self._folder}."))

    def _fetch(self) -> None:
        order = self._order
        repository = self._again(lambda: self._hub.repository(order.repository, order.revision))
        wish = Wish(order.form, order.pattern, order.quantization, order.budget, order.remote_code)
        choice = choose(repository.files, wish)
        _check_digests(choice)
        record = read_record(self._folder)
        missing = [file for file in choice.files if not self._is_here(record, file)]
        have = sum(self._incoming.have(file) for file in missing)
        before = choice.size - sum(file.size for file in missing)
        self._tell(Planned(repository.commit, len(choice.files), choice.size, before + have, choice.said))
        self._check_disk(sum(file.size for file in missing) - have)
        for file in missing:
            self._bring(repository, file, before, choice.size)
            before += file.size
        already = not missing and self._key(choice) in record.selections
        if not already:
            self._publish(choice, repository, missing, record)
        with suppress(OSError):
            self._incoming.tidy(choice.files, time.time())
        opened = str(self._folder / choice.main)
        self._tell(Completed(opened, choice.form, repository.commit, choice.size, choice.said, already))

    def _key(self, choice: Choice) -> str:
        return selection_key(choice.form, self._order.pattern, self._order.quantization)

    def _is_here(self, record: Record, file: RemoteFile) -> bool:
        """Whether this very content was fetched before, and its file has not changed its size since."""
        known = record.files.get(file.name)
        if known is None or (known.sha256 or known.git_sha1) != digest_of(file):
            return False
        path = self._folder / file.name
        return path.is_file() and path.stat().st_size == file.size

    def _check_disk(self, needed: int) -> None:
        if needed <= 0:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if free < needed + KEEP_FREE:
            raise HubError(
                "disk_full",
                f"{in_words(needed)} are still to come, and {self._folder} has {in_words(free)} free; "
                f"{in_words(KEEP_FREE)} of it stay free. Make room, or set MODEL_CACHE_DIR to a larger disk.",
            )

    def _bring(self, repository: Repository, file: RemoteFile, before: int, total: int) -> None:
        """One file, complete and checked, in ``.incoming``.

        Bytes that are wrong are thrown away and fetched once more from the beginning: an interrupted
        download may have gone on with another content. Wrong again, it is the hub that is wrong.
        """
        if self._incoming.complete(file).is_file():
            return
        for _ in range(2):
            self._download(repository, file, before, total)
            if self._verify(file, before, total):
                self._incoming.part(file).replace(self._incoming.complete(file))
                return
            self._incoming.part(file).unlink()
        raise HubError(
            "checksum_mismatch",
            f"{file.name} arrived twice with another checksum than the hub names, so it was thrown away. "
            "Try again later; if it stays so, the file at the hub is damaged.",
        )

    def _download(self, repository: Repository, file: RemoteFile, before: int, total: int) -> None:
        said = 0.0

        def report(length: int) -> None:
            nonlocal said
            if (now := time.monotonic()) - said >= _SAY_SECONDS:
                said = now
                self._tell(Moved("downloading", file.name, before + length, total))

        def attempt() -> None:
            with self._incoming.open_part(file, report) as part:
                self._hub.download(repository, file, part, have=part.tell())

        self._tell(Moved("downloading", file.name, before + self._incoming.have(file), total))
        self._again(attempt, progress=lambda: self._incoming.have(file))
        self._tell(Moved("downloading", file.name, before + file.size, total))

    def _verify(self, file: RemoteFile, before: int, total: int) -> bool:
        said = time.monotonic()

        def report(length: int) -> None:
            nonlocal said
            if (now := time.monotonic()) - said >= _SAY_SECONDS:
                said = now
                self._tell(Moved("verifying", file.name, before + length, total))

        return checksum(self._incoming.part(file), file, report) == digest_of(file)

    def _again(self, attempt: Callable[[], Result], progress: Callable[[], int] = lambda: 0) -> Result:
        """The result of a request to the hub, tried again while it is away. Raises HubAway in the end."""
        failures, reached = 0, progress()
        while True:
            try:
                return attempt()
            except HubAway as error:
                if (now := progress()) > reached:
                    failures, reached = 0, now
                failures += 1
                wait = self._patience.wait(failures, error.retry_after)
                if wait is None:
                    raise
                self._tell(Waiting(str(error), wait))
                time.sleep(wait)

    def _publish(self, choice: Choice, repository: Repository, new: list[RemoteFile], record: Record) -> None:
        """Give all files their names. Until the record says so, an engine takes none of them for complete."""
        key = self._key(choice)
        if (before := record.selections.pop(key, None)) is not None:
            write_record(self._folder, record)
        # The file that engines look for comes last.
        ordered = sorted(new, key=lambda each: each.name == choice.main)
        # Files with the same content came once.
        wanted = Counter(digest_of(file) for file in ordered)
        for file in ordered:
            target = self._folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            wanted[digest_of(file)] -= 1
            if wanted[digest_of(file)]:
                shutil.copyfile(self._incoming.complete(file), target)
            else:
                self._incoming.complete(file).replace(target)
            record.files[file.name] = FetchedFile(file.size, file.sha256, file.git_sha1, repository.commit)
        names = [file.name for file in choice.files]
        record.repository, record.revision = self._order.repository, self._order.revision
        record.selections[key] = Selection(names, choice.main, choice.said)
        write_record(self._folder, record)
        if before is not None:
            forget_unused(self._folder, record, before.files)

    def _waits_for_others(self) -> None:
        self._tell(Waiting(_LOCKED, 1.0))


def _check_digests(choice: Choice) -> None:
    for file in choice.files:
        if not digest_of(file):
            raise HubError("failed", f"The hub names no checksum for {file.name}, so it is not fetched.")
