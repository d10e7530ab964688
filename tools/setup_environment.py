"""Makes or repairs the one virtual environment of the workspace, .venv.

    python3 tools/setup_environment.py base|run|test|deploy|openvino|onnx|transformers|llama

`base` installs the AI core without an engine; `run` also an engine that can read the models that are
configured (a wheel where there is one, else llama.cpp, which is compiled); `test` all engines, and what the
tests, the linters and the training of the demo model need; `deploy` Docker as well; the others this one
engine. What is there stays. Repeating it takes a moment, interrupting it does no harm. It runs under any
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
from typing import Iterator, Sequence

from workspace_setup import engines, stages, system
from workspace_setup.errors import SetupError
from workspace_setup.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ("base", "run", "test", "deploy", *stages.ENGINES)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PROFILES:
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    os.chdir(ROOT)
    try:
        with _alone(ROOT / "var" / "setup.lock"):
            set_up(Workspace(ROOT), arguments[0])
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; nothing half-made is used. Run it again to go on.", file=sys.stderr)
        return 130
    return 0


def set_up(workspace: Workspace, profile: str) -> None:
    """Install what a profile wants and is not there. Raises SetupError."""
    began = time.monotonic()
    wanted = [*stages.kept(workspace), *_wanted(workspace, profile)]
    worked = _carry_out(workspace, wanted)
    if profile == "run":
        # Asked of the AI core itself, which is installed by now.
        lacking = engines.lacking(workspace, stages.kept(workspace))
        if lacking:
            names = " and ".join(engines.NAMES[name] for name in lacking)
            print(f"The models that are configured need {names}.")
        worked = _carry_out(workspace, [*wanted, *lacking]) or worked
    if worked:
        print(f"Ready after {time.monotonic() - began:.0f} s.")


def _wanted(workspace: Workspace, profile: str) -> Sequence[str]:
    if profile == "base":
        return ()
    if profile == "run":
        return engines.first(stages.kept(workspace))
    if profile == "deploy":
        return (*stages.EVERYTHING, "deploy")
    return stages.EVERYTHING if profile == "test" else (profile,)


def _carry_out(workspace: Workspace, wanted: Sequence[str]) -> bool:
    """Do what remains to be done; whether there was anything."""
    todo = stages.pending(workspace, wanted)
    if not todo:
        return False
    interpreter = system.ensure_system(
        workspace.log("system"), compiling=any(stage.name == "llama" for stage in todo)
    )
    stages.prepare(workspace, interpreter, wanted)
    todo = stages.pending(workspace, wanted)
    print(f"Setting up .venv with Python {interpreter.version_text}; the details go to var/log/setup-*.log")
    for number, stage in enumerate(todo, start=1):
        stages.carry_out(workspace, stage, f"[{number}/{len(todo)}]")
    return True


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
