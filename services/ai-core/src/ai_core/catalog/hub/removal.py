"""Fetched models leave the disk."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ai_core.catalog.fetched import FETCHED, read_record
from ai_core.catalog.hub.fetched_files import forget_unused
from ai_core.catalog.hub.incoming import Incoming
from ai_core.catalog.hub.locking import LOCK, locked
from ai_core.catalog.hub.verification import DAMAGED


def remove_selection(folder: Path, key: str, models_dir: Path) -> int | None:
    """Delete the files of one fetched model that no other model of the repository needs, and what is left
    of interrupted downloads.

    Returns:
        The bytes that were freed; None: there was nothing of this model.

    Raises:
        OSError.
    """
    if not folder.is_dir():
        return None
    with locked(folder):
        before = _size(folder)
        record = read_record(folder)
        selection = record.selections.pop(key, None)
        Incoming(folder).clear()
        for path in folder.rglob(f"*{DAMAGED}"):
            path.unlink()
        # Also what a model left that turned out to be damaged.
        forget_unused(folder, record, list(record.files))
        freed = before - _size(folder)
        if not record.selections:
            (folder / FETCHED).unlink(missing_ok=True)
            (folder / LOCK).unlink(missing_ok=True)
            _prune(folder, models_dir)
    return freed if selection is not None or freed else None


def _size(folder: Path) -> int:
    """Bytes of all files but ours."""
    ours = {FETCHED, LOCK}
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.name not in ours)


def _prune(folder: Path, models_dir: Path) -> None:
    """Remove empty folders below this one, this one, and those above it up to the folder of all models."""
    for path in sorted((each for each in folder.rglob("*") if each.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir()
    for path in (folder, *folder.parents):
        if path == models_dir or models_dir not in path.parents:
            return
        try:
            path.rmdir()
        except OSError:
            return
