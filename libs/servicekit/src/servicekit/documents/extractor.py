"""Has documents read by processes of their own, and waits for each no longer than it may take."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from servicekit.documents import confined
from servicekit.documents.decoding import clean
from servicekit.documents.kinds import kind_of
from servicekit.documents.port import (
    DEFAULT_LIMITS,
    Document,
    DocumentRefused,
    ExtractorUnavailable,
    Kind,
    Limits,
    Refusal,
)
from servicekit.documents.verdicts import FAILED_TO_START, refusal_of

AT_ONCE = 2
_BYTES_PER_CHARACTER = 4
_CHUNK = 65_536
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE | re.ASCII)


class ConfinedExtractor:
    """Implements :class:`servicekit.documents.port.Extractor`.

    Memory of this process: the document, and at most four bytes for each character of its text.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, at_once: int = AT_ONCE) -> None:
        """``at_once`` is how many are read side by side; more wait, and that wait has no limit of its own."""
        self._limits = limits
        self._slots = asyncio.Semaphore(at_once)

    async def extract(self, data: bytes, *, name: str = "", content_type: str = "") -> Document:
        if len(data) > self._limits.input_bytes:
            raise DocumentRefused(Refusal.TOO_LARGE)
        kind = kind_of(data, name, content_type)
        charset = _CHARSET.search(content_type)
        async with self._slots:
            try:
                output = await self._read(kind, data, charset[1] if charset else "")
            except OSError as error:
                raise ExtractorUnavailable(f"no process could be started ({type(error).__name__})") from error
        return _document(output, kind, self._limits.characters)

    async def _read(self, kind: Kind, data: bytes, charset: str) -> bytes:
        """What the process wrote. Raises DocumentRefused, ExtractorUnavailable, OSError."""
        most = (self._limits.characters + 1) * _BYTES_PER_CHARACTER
        async with _nameless(data) as file, self._process(kind, charset, file) as process:
            try:
                async with asyncio.timeout(self._limits.seconds):
                    output = await _read_at_most(process, most)
                    if len(output) >= most:
                        # A program that does not know when it is enough: we have what we want.
                        return output
                    status = await process.wait()
            except TimeoutError:
                raise DocumentRefused(Refusal.TIMED_OUT) from None
        if status == FAILED_TO_START and kind not in {Kind.IMAGE, Kind.DOC}:
            raise ExtractorUnavailable("the process that reads documents does not start")
        if (refusal := refusal_of(status)) is not None:
            raise DocumentRefused(refusal)
        return output

    @asynccontextmanager
    async def _process(self, kind: Kind, charset: str, file: int) -> AsyncIterator[Process]:
        """Has ended, with all that it started, when the context ends."""
        limits = msgspec.json.encode(self._limits).decode()
        async with _empty_folder() as folder:
            process = await self._start(
                [f"/dev/fd/{file}", kind, limits, f"{os.getpid()}", charset], file, folder
            )
            try:
                yield process
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                while await _stdout(process).read(_CHUNK):
                    pass
                await process.wait()

    async def _start(self, arguments: list[str], file: int, folder: Path) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-B", "-m", confined.__name__, *arguments),
            stdin=DEVNULL,
            stdout=PIPE,
            # Parsers quote what they cannot read.
            stderr=DEVNULL,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
            pass_fds=(file,),
        )


def _environment(folder: Path) -> dict[str, str]:
    """Only what programs need to run: secrets stay here."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        # OCR would take every core.
        "OMP_THREAD_LIMIT": "1",
    }


@asynccontextmanager
async def _nameless(data: bytes) -> AsyncIterator[int]:
    """The descriptor of a file in no folder: whatever ends this process, nobody's document is left behind."""
    with await asyncio.to_thread(_written, data) as file:
        yield file.fileno()


def _written(data: bytes) -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115 — whoever asked for it closes it
    file.write(data)
    file.seek(0)
    return file


@asynccontextmanager
async def _empty_folder() -> AsyncIterator[Path]:
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="neo-document-"))
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _read_at_most(process: Process, most: int) -> bytes:
    output = bytearray()
    while len(output) < most and (chunk := await _stdout(process).read(min(_CHUNK, most - len(output)))):
        output += chunk
    return bytes(output)


def _stdout(process: Process) -> asyncio.StreamReader:
    assert process.stdout is not None
    return process.stdout


def _document(output: bytes, kind: Kind, characters: int) -> Document:
    text = clean(output.decode("utf-8", "replace"))
    kept = text[:characters].strip()
    if not kept:
        raise DocumentRefused(Refusal.EMPTY)
    return Document(kept, kind, cut=len(text) > characters)
