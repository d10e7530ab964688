"""Which weights answer, told by a digest that is cheap to compute."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

HEAD_BYTES = 16 * 1024 * 1024
"""Where a GGUF file has its metadata, vocabulary and chat template."""
SAMPLE_BYTES = 16 * 1024
SAMPLES = 64
NO_FILE = "none"
"""The revision of a model that has no file."""

_Signature = tuple[tuple[int, int, int], ...]
"""Size, time of the last change and inode of each file."""


def digest_of(path: Path) -> str:
    """SHA-256 over a file's size, its first 16 MiB and 64 samples spread over the rest, the end included;
    of a folder, over the names and digests of all files in it.

    Equal on every machine for copies of one model; all of it would take a minute for large ones.
    Raises OSError.
    """
    if not path.is_dir():
        return _digest_of_file(path)
    digest = hashlib.sha256()
    for file in _files_in(path):
        digest.update(f"{file.relative_to(path)}\0{_digest_of_file(file)}\0".encode())
    return digest.hexdigest()


def _files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        digest = hashlib.sha256(size.to_bytes(8, "big"))
        digest.update(file.read(HEAD_BYTES))
        rest = size - HEAD_BYTES - SAMPLE_BYTES
        if rest > 0:
            for number in range(SAMPLES):
                file.seek(HEAD_BYTES + rest * number // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
        elif size > HEAD_BYTES:
            digest.update(file.read())
        return digest.hexdigest()


class Revision:
    """A model's file or folder, which may be replaced while we run, and the manner in which it is run.

    An engine keeps what it has loaded, whatever becomes of the file: so a resident model has the
    revision that its file had when the model was first seen resident.
    """

    def __init__(self, path: Path | None, manner: str = "") -> None:
        """``path`` None: nothing is read here. ``manner`` names everything else that an answer depends on:
        versions, settings of the engine."""
        self._path = path
        self._manner = manner
        self._resident: object | None = None
        self._resident_digest = ""
        self._signature: _Signature | None = None
        self._digest = NO_FILE

    async def current(self, resident: object | None) -> str:
        """The revision that answers now.

        Args:
            resident: something that stands for the loaded model, another object after each load; None
                while none is loaded, and the file would be next.
        """
        if resident is None:
            digest = await self._of_file()
        else:
            if resident is not self._resident:
                self._resident_digest = await self._of_file()
                self._resident = resident
            digest = self._resident_digest
        return f"{digest} {self._manner}"

    async def _of_file(self) -> str:
        signature = self._look()
        if signature == self._signature:
            return self._digest
        digest = await asyncio.to_thread(self._read)
        self._signature, self._digest = signature, digest
        return digest

    def _look(self) -> _Signature | None:
        if self._path is None:
            return None
        try:
            files = _files_in(self._path) if self._path.is_dir() else [self._path]
            found = [file.stat() for file in files]
        except OSError:
            return None
        return tuple((status.st_size, status.st_mtime_ns, status.st_ino) for status in found)

    def _read(self) -> str:
        try:
            return NO_FILE if self._path is None else digest_of(self._path)
        except OSError:
            return NO_FILE
