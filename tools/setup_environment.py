"""Makes or repairs the one virtual environment of the workspace, .venv.

    python3 tools/setup_environment.py run|test

`run` installs what serving needs, `test` also what the tests, the linters and the training of the
demo model need. Repeating it takes a moment, interrupting it does no harm. It runs under any
Python from 3.8, so that it can say in one sentence what is missing.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Iterator

from workspace_setup import stages, system
from workspace_setup.errors import SetupError
from workspace_setup.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ("run", "test")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PROFILES:
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    os.chdir(ROOT)
    try:
        with _alone(ROOT / "var" / "setup.lock"):
            _set_up(Workspace(ROOT), with_tests=arguments[0] == "test")
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; nothing half-made is used. Run it again to go on.", file=sys.stderr)
        return 130
    return 0


def _set_up(workspace: Workspace, with_tests: bool) -> None:
    if not stages.pending(workspace, with_tests):
        return
    began = time.monotonic()
    log = workspace.log("system")
    interpreter = system.ensure_system(log)
    stages.prepare(workspace, interpreter, with_tests)
    todo = stages.pending(workspace, with_tests)
    print(f"Setting up .venv with Python {interpreter.version_text}; the details go to var/log/setup-*.log")
    for number, stage in enumerate(todo, start=1):
        stages.carry_out(workspace, stage, f"[{number}/{len(todo)}]")
    print(f"Ready after {time.monotonic() - began:.0f} s.")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock that keeps two set-ups of one workspace from working at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is at work here; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
