"""Whether what was fetched is still what it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ai_core.catalog.fetched import Record, read_record, write_record
from ai_core.catalog.hub.choice import RemoteFile
from ai_core.catalog.hub.incoming import checksum, digest_of
from ai_core.catalog.hub.locking import locked

DAMAGED = ".damaged"
"""Behind the name of a file that is no longer what it was: nothing serves it."""
Report = Callable[[str, int, int], None]
"""A file, how many of its bytes were read, and of how many."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, in words."""

    sentence: str
    damaged: bool = False
    missing: bool = False


def verify_selection(folder: Path, key: str, remedy: str, report: Report) -> Finding:
    """Compare the files of one fetched model with their checksums.

    What is damaged is renamed and forgotten, so that it is not served and the next pull fetches it anew.
    Raises OSError.
    """
    with locked(folder):
        record = read_record(folder)
        selection = record.selections.get(key)
        if selection is None:
            return Finding(f"not here; {remedy}", missing=True)
        damaged = [name for name in selection.files if not _is_intact(folder, record, name, report)]
        if not damaged:
            count = len(selection.files)
            return Finding("ok" if count == 1 else f"ok ({count} files)")
        for name in damaged:
            record.files.pop(name, None)
            if (folder / name).is_file():
                (folder / name).replace(folder / f"{name}{DAMAGED}")
        for other in [
            key for key, one in record.selections.items() if not set(damaged).isdisjoint(one.files)
        ]:
            del record.selections[other]
        write_record(folder, record)
    return Finding(f"damaged: {', '.join(damaged)}; {remedy}", damaged=True)


def _is_intact(folder: Path, record: Record, name: str, report: Report) -> bool:
    known, path = record.files.get(name), folder / name
    if known is None or not path.is_file() or path.stat().st_size != known.size:
        return False
    file = RemoteFile(name, known.size, known.sha256, known.git_sha1)
    return checksum(path, file, lambda done: report(name, done, known.size)) == digest_of(file)
