"""llama.cpp's own quantizer, run in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from ai_core.catalog.gguf_header import BadHeader, read_header
from ai_core.catalog.quantized import QuantizedModel
from ai_core.engine.messages import Quantize, QuantizeEnd, QuantizeProgress

# -P: a folder called ai_core in the working directory is not ours.
COMMAND = (sys.executable, "-P", "-m", "ai_core.engine.quantizer")
_LINES: msgspec.json.Decoder[QuantizeProgress | QuantizeEnd] = msgspec.json.Decoder(
    QuantizeProgress | QuantizeEnd
)

_FORGOTTEN_SECONDS = 86_400.0


class CannotQuantize(Exception):
    """There is no quantized model; the text says why."""


async def quantized(
    source: Path,
    target: Path,
    what: tuple[str, str, str, int],
    threads: int = 0,
    command: Sequence[str] = COMMAND,
) -> AsyncGenerator[QuantizeProgress]:
    """Make a quantized model; when the iterator has ended, it is there. Until then, nothing has its name.

    Args:
        source: a GGUF file, or the first of its parts.
        what: the new model's name, the name of its source, the quantization and its number for llama.cpp.

    Raises:
        CannotQuantize.
    """
    name, source_name, file_type, number = what
    # Of this process alone: the command and the server may make the same at the same time.
    part = target.with_suffix(f".{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_forgotten(target.parent)
        _check_disk(source, target.parent)
        order = Quantize(str(source), str(part), number, threads)
        async with contextlib.aclosing(_run(order, command)) as lines:
            async for line in lines:
                yield line
        digest = await asyncio.to_thread(_finished, part)
        description = QuantizedModel(name, source_name, file_type, part.stat().st_size, digest)
        # What is replaced has no description while it is another file than the one described.
        target.with_suffix(".json").unlink(missing_ok=True)
        part.replace(target)
        target.with_suffix(".json").write_bytes(msgspec.json.encode(description))
    except OSError as error:
        raise CannotQuantize(f"{error.filename or target}: {error.strerror or error}.") from error
    except BadHeader as error:
        raise CannotQuantize(f"llama.cpp wrote a file that cannot be read: {error}.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


async def _run(order: Quantize, command: Sequence[str]) -> AsyncGenerator[QuantizeProgress]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    problem = "the process of llama.cpp ended unexpectedly"
    try:
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        async for line in process.stdout:
            event = _LINES.decode(line)
            if isinstance(event, QuantizeEnd):
                problem = event.problem
                break
            yield event
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.stdout.read()
        await process.wait()
    if problem:
        raise CannotQuantize(f"llama.cpp refuses: {problem.rstrip('!.')}.")


def _remove_forgotten(folder: Path) -> None:
    """What processes that were killed have left."""
    for path in folder.glob("*.part"):
        if time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS:
            path.unlink(missing_ok=True)


def _check_disk(source: Path, folder: Path) -> None:
    needed, free = source.stat().st_size, shutil.disk_usage(folder).free
    if free < needed:
        raise CannotQuantize(f"{folder} has {free} bytes free; the result may take up to {needed}.")


def _finished(path: Path) -> str:
    """The SHA-256 of a file that has all that its header promises."""
    read_header(path)
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
