"""Safetensors into OpenVINO's form: once, however many ask, and never used half-made."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from ai_core.catalog.conversion.environment import (
    DEFAULT_FOLDER,
    ConverterUnavailable,
    Progress,
    converter_python,
    environ,
)
from ai_core.catalog.conversion.manifest import (
    FORMS,
    MANIFEST,
    Converted,
    digest_of,
    existing,
    folder_of,
    place_of,
    remove_stale,
)

EXPORT = Path(__file__).with_name("export.py")
PREPARE = [sys.executable, "-m", "ai_core.engine.backends.openvino.prepare"]
"""Makes the converted graph one that our backend serves."""
PREPARED = 2
"""What PREPARE makes (a test compares it with the engine's own number)."""
_MODEL = "openvino_model"
_LOCK_POLL = 0.2
_STILL_HERE = 5.0  # s; between two reports while nothing can be told about how far it is
_SHARE_ENVIRONMENT = 0.4
_SHARE_EXPORTED = 0.9
_GRACE_PERIOD = 5.0
_TAIL_CHARACTERS = 600


class CannotConvert(Exception):
    """The model cannot be converted; the text is for the operator."""


async def convert(
    source: Path,
    kept: Path,
    quantization: str,
    on_progress: Progress,
    environment: Path = DEFAULT_FOLDER,
) -> Path:
    """The folder with the converted model; makes it, and before that the converter's environment, where they
    are missing. Takes minutes per gigabyte, and some three times the memory of the weights.

    Cancelling ends the converter; what it left is removed by the next one.

    Args:
        source: a folder with safetensors.
        kept: the folder for converted models.
        quantization: ``none``, ``int8`` or ``4bit``.
        on_progress: called every few seconds.

    Raises:
        CannotConvert: the model is none that can be converted, or there is no converter.
    """
    if quantization not in FORMS:
        raise CannotConvert(f"'{quantization[:40]}' is none of {', '.join(FORMS)}")
    found = existing(source, kept, quantization)
    if found is not None:
        return found
    try:
        python = await converter_python(_scaled(on_progress, 0.0, _SHARE_ENVIRONMENT), environment)
        folder = folder_of(source, kept)
        folder.mkdir(parents=True, exist_ok=True)
        async with _alone(folder.with_suffix(".lock"), on_progress):
            found = existing(source, kept, quantization)
            return found or await _make(python, source, kept, quantization, on_progress)
    except ConverterUnavailable as error:
        raise CannotConvert(str(error)) from error
    except OSError as error:
        raise CannotConvert(f"{source} cannot be converted ({error.strerror or error})") from error


async def _make(python: Path, source: Path, kept: Path, quantization: str, on_progress: Progress) -> Path:
    digest, own = digest_of(source), _absolute(source)
    remove_stale(source, kept, digest)
    target = place_of(source, kept, quantization, digest)
    making = Path(tempfile.mkdtemp(dir=target.parent, prefix="making-"))
    try:
        exported, final = making / "exported", making / "final"
        final.mkdir()
        command = [str(python), str(EXPORT), own, str(exported), FORMS[quantization]]
        await _run(command, _SHARE_ENVIRONMENT, "converting the weights", on_progress)
        await _run([*PREPARE, str(exported), str(final)], _SHARE_EXPORTED, "preparing the graph", on_progress)
        _take_along(source, exported, final)
        size = (final / f"{_MODEL}.bin").stat().st_size
        manifest = Converted(
            source=own,
            digest=digest,
            quantization=quantization,
            form=FORMS[quantization],
            size=size,
            prepared=PREPARED,
        )
        (final / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        final.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    on_progress(1.0, "converted")
    return target


def _absolute(path: Path) -> str:
    return str(path.resolve())


def _take_along(source: Path, exported: Path, final: Path) -> None:
    """Tokenizer, template and configuration: as the model's authors wrote them, else as exported."""
    for folder in (exported, source):
        for path in folder.iterdir():
            if path.suffix in (".json", ".jinja") and not path.name.endswith(".index.json"):
                shutil.copyfile(path, final / path.name)


async def _run(command: list[str], share: float, what: str, on_progress: Progress) -> None:
    """Run to its end; nothing of it outlives a cancellation. Raises CannotConvert."""
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environ(),
            start_new_session=True,
        )
        try:
            status = await _ended(process, lambda: on_progress(share, what))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        if status != 0:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            reason = " ".join(lines[-3:])[-_TAIL_CHARACTERS:] or f"it ended with status {status}"
            raise CannotConvert(f"the converter gave up while {what}: {reason}")


async def _ended(process: asyncio.subprocess.Process, report: Callable[[], None]) -> int:
    """The exit status; reports now and then until it is there."""
    while True:
        report()
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(process.wait(), _STILL_HERE)


def _scaled(on_progress: Progress, begin: float, end: float) -> Progress:
    return lambda share, what: on_progress(begin + share * (end - begin), what)


@contextlib.asynccontextmanager
async def _alone(path: Path, on_progress: Progress) -> AsyncIterator[None]:
    """Hold the lock that keeps two converters of one model apart, in one process or in several."""
    with path.open("w") as file:
        waited = 0.0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited % _STILL_HERE < _LOCK_POLL:
                    on_progress(_SHARE_ENVIRONMENT, "somebody else is converting it")
                await asyncio.sleep(_LOCK_POLL)
                waited += _LOCK_POLL
        yield
