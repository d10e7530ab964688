"""The converter's own virtual environment, made when the first model has to be converted.

optimum-intel wants an older transformers than ours, so it never shares an environment with the server.
Making it takes a minute or more, takes 1.3 GB, and needs a package index that pip can reach. Using it needs
neither network nor anything of ours: run ``<its python> …`` with :func:`environ`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

LOCKS = ("converter.txt", "torch.txt")
"""In the folder of locks; the first with hashes, the second without (requirements/torch.txt says why)."""
DEFAULT_FOLDER = Path("var/converter")
"""Relative to the working directory, as are all defaults of the settings."""
REQUIREMENTS = Path(__file__).resolve().parents[6] / "requirements"
"""The workspace's, from which this package is served."""

_COMPLETE = ".complete"
_LOCK_POLL = 0.2  # s; between two looks whether another maker has finished
_GRACE_PERIOD = 5.0  # s between asking pip to end and killing it
_SHARE_VENV = 0.02
_SHARE_HASHED = 0.55  # of the work is done when all with hashes are installed; the rest is torch
_COMPLAINT_LENGTH = 300
_PINNED = re.compile(r"^[A-Za-z0-9._-]+==", re.MULTILINE)

Progress = Callable[[float, str], None]
"""Called with the share that is done, 0 to 1, and with what is being done, for a person."""


class ConverterUnavailable(Exception):
    """There is no environment for the converter, and none can be made; the text says what to do."""


def ready(folder: Path = DEFAULT_FOLDER, requirements: Path = REQUIREMENTS) -> Path | None:
    """The converter's interpreter, if its environment is complete and made from the present locks."""
    python = folder / "bin" / "python"
    try:
        made_from = (folder / _COMPLETE).read_text(encoding="utf-8")
        return python if made_from == _key(folder, requirements) else None
    except OSError:
        return None


async def converter_python(
    on_progress: Progress, folder: Path = DEFAULT_FOLDER, requirements: Path = REQUIREMENTS
) -> Path:
    """The converter's interpreter; makes its environment first where there is none.

    Of several that want it at once, also in different processes, one makes it and the others wait.
    Cancelling ends pip and leaves nothing that would be taken for an environment.

    Args:
        on_progress: called from the event loop's thread.

    Raises:
        ConverterUnavailable: no locks, no network, no room on disk; the text is for the operator.
    """
    python = ready(folder, requirements)
    if python is not None:
        return python
    try:
        async with _alone(folder.with_name(folder.name + ".lock")):
            python = ready(folder, requirements)
            return python or await _make(folder, requirements, on_progress)
    except OSError as error:
        raise ConverterUnavailable(
            f"The converter's environment cannot be made in {folder} ({error.strerror or error})."
        ) from error


def environ() -> dict[str, str]:
    """The environment for programs of the converter: they ask no hub for anything and report to nobody."""
    return {**_environ_of_pip(), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def _environ_of_pip() -> dict[str, str]:
    """Ours, so that a user's settings of pip hold, without what would let our modules in."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


async def _make(folder: Path, requirements: Path, on_progress: Progress) -> Path:
    locks = [requirements / name for name in LOCKS]
    if not all(path.is_file() for path in locks):
        raise ConverterUnavailable(
            f"The converter's locks are missing in {requirements}: models can be converted where the whole "
            "repository is."
        )
    key = _key(folder, requirements)
    on_progress(0.0, "making the converter's environment")
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    log = folder.with_name(folder.name + ".log")
    log.write_bytes(b"")
    await _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], log, lambda line: None)
    hashed, torch = (
        [*_pip(folder), *options, "-r", str(path)] for options, path in zip(_OPTIONS, locks, strict=True)
    )
    await _run(hashed, log, _Steps(on_progress, _count(locks[0]), _SHARE_VENV, _SHARE_HASHED).line)
    await _run(torch, log, _Steps(on_progress, _count(locks[1]), _SHARE_HASHED, 1.0).line)
    (folder / _COMPLETE).write_text(key, encoding="utf-8")
    on_progress(1.0, "the converter's environment is ready")
    return folder / "bin" / "python"


# Wheels only: no compiler is wanted for this, and no code of a package's set-up runs.
_OPTIONS = (
    ("--no-deps", "--require-hashes", "--only-binary=:all:"),
    ("--only-binary=:all:",),
)


def _pip(folder: Path) -> list[str]:
    """Our own pip, at work in the other environment, which so needs none."""
    options = ["--disable-pip-version-check", "--no-input", "--no-compile"]
    return [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", *options]


def _key(folder: Path, requirements: Path) -> str:
    """Changes with the locks, with Python, and when the folder is moved."""
    parts = [str(folder.resolve()).encode(), ".".join(map(str, sys.version_info[:2])).encode()]
    for name in LOCKS:
        lines = (requirements / name).read_bytes().splitlines()
        parts += [line for line in lines if not line.lstrip().startswith(b"#")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _count(lock: Path) -> int:
    return max(1, len(_PINNED.findall(lock.read_text(encoding="utf-8"))))


class _Steps:
    """Turns pip's lines into progress between two shares."""

    def __init__(self, on_progress: Progress, packages: int, begin: float, end: float) -> None:
        self._on_progress = on_progress
        self._packages = packages
        self._begin = begin
        self._end = end
        self._seen = 0

    def line(self, text: str) -> None:
        words = text.split()
        if words[:1] in (["Collecting"], ["Processing"]):
            # What lies in a folder (find-links) is processed and not collected.
            self._seen = min(self._seen + 1, self._packages)
            self._report(0.8 * self._seen / self._packages, f"fetching {Path(words[1]).name}")
        elif words[:1] == ["Installing"]:
            self._report(0.8, "installing the converter")

    def _report(self, share: float, what: str) -> None:
        self._on_progress(self._begin + share * (self._end - self._begin), what)


async def _run(command: Sequence[str], log: Path, on_line: Callable[[str], None]) -> None:
    """Run to its end; nothing of it outlives a cancellation. Raises ConverterUnavailable."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environ_of_pip(),
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        with log.open("ab") as file:
            async for line in process.stdout:
                file.write(line)
                on_line(line.decode(errors="replace"))
        status = await process.wait()
    except BaseException:
        await _end_group(process)
        raise
    if status != 0:
        raise ConverterUnavailable(
            "The converter's packages could not be installed; that needs a package index that pip can reach. "
            f"`make converter` tries it again. pip says: {_complaint(log)} The whole log is {log}."
        )


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """Ask pip and all that it started to end; kill what has not after the grace period."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_PERIOD)


def _complaint(log: Path) -> str:
    """What pip says is wrong, or else its last line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or [line for line in lines if line] or ["nothing."])[-1][:_COMPLAINT_LENGTH]


@contextlib.asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    """Hold the lock that keeps two makers apart, in one process or in several."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_POLL)
        yield
