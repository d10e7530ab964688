"""Running one command: all it says goes to a log file, and nothing of it outlives an interruption."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Callable, Mapping, Sequence

from workspace_setup.errors import SetupError

TAIL_LINES = 20
GRACE_PERIOD = 5.0  # s between asking a command to end and killing it


def run(
    command: Sequence[str | Path],
    log: Path,
    failure: str,
    environ: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run a command to its end. Raises SetupError: the end of the log, then `failure`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8", errors="replace") as file:
        file.write("$ " + " ".join(map(str, command)) + "\n")
        try:
            # A session of its own, so that compilers started by pip by way of ninja end with it.
            process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=None if environ is None else dict(environ),
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise SetupError(f"{command[0]} cannot be started ({error.strerror}). {failure}") from error
        with process:
            try:
                for line in process.stdout or ():
                    file.write(line)
                    if on_line is not None:
                        on_line(line)
                status = process.wait()
            except BaseException:
                _end_group(process)
                raise
    if status != 0:
        raise SetupError(f"{tail(log)}\n{failure}")


def tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join(f"  | {line.strip()[:200]}" for line in lines)


def _end_group(process: subprocess.Popen[str]) -> None:
    """Ask the command and all that it started to end; kill what has not after the grace period."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_PERIOD)
