"""One process at a time changes a folder of fetched models."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"
_AGAIN_SECONDS = 1.0


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a folder's lock; ``waiting`` is called about every second while another process has it.

    The system lets go of it when the process ends, however it ends. Raises OSError.
    """
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            while not _taken(file.fileno()):
                waiting()
                time.sleep(_AGAIN_SECONDS)
            # Whoever had it may have removed the folder: then this is the lock of nothing.
            if _is_same(path, file.fileno()):
                yield
                return


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
