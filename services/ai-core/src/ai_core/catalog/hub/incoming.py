"""Files on their way: in a folder that no engine reads, under the names of their checksums.

What was interrupted goes on where it stopped, also in another process, and also if the repository has moved
on meanwhile: a file that did not change is the same file.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ai_core.catalog.hub.choice import RemoteFile

INCOMING = ".incoming"
_HASH_PIECE = 4 * 1024 * 1024
_FORGOTTEN_SECONDS = 14 * 86_400.0
Report = Callable[[int], None]
"""Bytes of one file, from its beginning."""


def digest_of(file: RemoteFile) -> str:
    """What a file is known by: SHA-256 of large ones, git's SHA-1 of small ones."""
    return file.sha256 or file.git_sha1


def checksum(path: Path, file: RemoteFile, report: Report = lambda _: None) -> str:
    """The checksum of what is on the disk, of the kind that the hub gives for this file. Raises OSError.

    Git's is over ``blob``, the size and the content: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    """
    with path.open("rb") as content:
        if file.sha256:
            digest = hashlib.sha256()
        else:
            digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        done = 0
        while piece := content.read(_HASH_PIECE):
            digest.update(piece)
            done += len(piece)
            report(done)
    return digest.hexdigest()


class Incoming:
    """The ``.incoming`` of one repository's folder. One process at a time uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / INCOMING

    def complete(self, file: RemoteFile) -> Path:
        """Where a file is when all of it is here and checked."""
        return self.folder / digest_of(file)

    def part(self, file: RemoteFile) -> Path:
        """Where it is until then."""
        return self.folder / f"{digest_of(file)}.part"

    def have(self, file: RemoteFile) -> int:
        """Bytes of a file that are here."""
        for path in (self.complete(file), self.part(file)):
            if path.is_file():
                return min(path.stat().st_size, file.size)
        return 0

    def open_part(self, file: RemoteFile, report: Report) -> ReportingFile:
        """Where further bytes of a file go; it stands at the end of what is here. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.part(file)
        path.touch()
        opened = ReportingFile(io.FileIO(path, "r+"), report)
        if opened.seek(0, os.SEEK_END) > file.size:
            # Not from this file's beginning, whatever it is.
            opened.seek(0)
            opened.truncate()
        return opened

    def tidy(self, files: Iterable[RemoteFile], now: float) -> None:
        """Remove what is left of files that have their place now, and what nobody went on with for long.

        Other models of the repository may be on their way, too. Raises OSError.
        """
        if not self.folder.is_dir():
            return
        done = {path for file in files for path in (self.complete(file), self.part(file))}
        for path in list(self.folder.iterdir()):
            if path in done or now - path.stat().st_mtime > _FORGOTTEN_SECONDS:
                path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def clear(self) -> None:
        """Remove everything. Raises OSError."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)


class ReportingFile(io.BufferedRandom):
    """A file that tells how long it is whenever something was written."""

    def __init__(self, raw: io.FileIO, report: Report) -> None:
        super().__init__(raw)
        self._report = report

    def write(self, data: object, /) -> int:
        written = super().write(data)  # type: ignore[arg-type]
        self._report(self.tell())
        return written
