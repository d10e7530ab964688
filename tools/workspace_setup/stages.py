"""The stages of the set-up, each with a stamp in .venv that says what it was made from."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from workspace_setup import commands, llama, locks, servers
from workspace_setup.progress import clock_text
from workspace_setup.system import Interpreter, probe
from workspace_setup.workspace import Workspace, pip

OWN_PACKAGES = ("libs/servicekit", "services/ai-core")
BEGUN = "begun"
HASHED = ["install", "--no-deps", "--no-build-isolation", "--require-hashes"]


@dataclass(frozen=True)
class Stage:
    name: str
    what: str
    key: str  # changes whenever the stage has to be done again
    install: Callable[[Workspace], None]
    build: Callable[[Workspace, str], None] = lambda workspace, label: None  # before, outside .venv
    stamped: bool = True  # without a stamp, it is planned only when it has to be done


def planned(workspace: Workspace, with_tests: bool) -> list[Stage]:
    llama_entry, others = locks.split(workspace.lock("run.txt"), llama.PACKAGE)
    own = [(workspace.root / path / "pyproject.toml").read_text(encoding="utf-8") for path in OWN_PACKAGES]
    plan = [
        Stage("packages", "Python packages", _hash(others), lambda ws: _install_lock(ws, "packages", others)),
        Stage(
            "llama",
            "llama.cpp",
            llama.key(workspace, llama_entry),
            install=lambda ws: llama.install(ws, llama_entry),
            build=lambda ws, label: llama.build(ws, llama_entry, label),
        ),
        Stage("own", "the workspace's own packages", _hash(*own), _install_own),
    ]
    if with_tests:
        tests, torch = workspace.lock("test.txt"), workspace.lock("torch.txt")
        plan += [
            Stage("test", "tests and linters", _hash(tests), lambda ws: _install_lock(ws, "test", tests)),
            Stage("torch", "torch", _hash(torch), _install_torch),
        ]
        if servers.missing():
            # First: what only the user can mend should not wait for a compilation.
            plan.insert(0, Stage("servers", "servers for the tests", "", _install_servers, stamped=False))
    return plan


def pending(workspace: Workspace, with_tests: bool) -> list[Stage]:
    """What remains to be done, in order; everything, if the environment itself is of no use."""
    plan = planned(workspace, with_tests)
    if not _usable(workspace):
        return plan
    return [stage for stage in plan if not stage.stamped or _stamp(workspace, stage.name) != stage.key]


def prepare(workspace: Workspace, interpreter: Interpreter, with_tests: bool) -> None:
    """Make the environment anew, unless each stage is either complete or was never begun.

    What was broken off, or made from other locks, leaves files behind that pip takes for installed
    packages. The wheel that takes long to make is kept elsewhere.
    """
    redo = [
        stage.name
        for stage in pending(workspace, with_tests)
        if stage.name != "own" and _stamp(workspace, stage.name) is not None
    ]
    if _usable(workspace) and not redo:
        return
    # The stamps first: an environment that is half removed must not look complete.
    shutil.rmtree(_stamps(workspace), ignore_errors=True)
    shutil.rmtree(workspace.environment, ignore_errors=True)
    failure = f"{interpreter.command} could not make .venv; the log is {workspace.log('venv')}."
    commands.run([interpreter.command, "-m", "venv", workspace.environment], workspace.log("venv"), failure)
    _stamps(workspace).mkdir()
    _write_stamp(workspace, "venv", _environment_key(workspace, interpreter))


def carry_out(workspace: Workspace, stage: Stage, counter: str) -> None:
    began = time.monotonic()
    label = f"{counter} {stage.what}"
    print(f"{label} ...", flush=True)
    stage.build(workspace, label)
    if stage.stamped:
        _write_stamp(workspace, stage.name, BEGUN)
    stage.install(workspace)
    if stage.stamped:
        _write_stamp(workspace, stage.name, stage.key)
    print(f"{label}: done in {clock_text(time.monotonic() - began)}", flush=True)


def _install_lock(workspace: Workspace, name: str, lock: str) -> None:
    with tempfile.TemporaryDirectory(prefix="neo-setup-") as scratch:
        path = Path(scratch) / "lock.txt"
        path.write_text(lock, encoding="utf-8")
        pip(workspace, [*HASHED, "-r", str(path)], name)


def _install_own(workspace: Workspace) -> None:
    # By path and without looking anything up: the names are not ours on any index.
    arguments = ["install", "--no-index", "--no-deps", "--no-build-isolation"]
    for path in OWN_PACKAGES:
        arguments += ["-e", str(workspace.root / path)]
    pip(workspace, arguments, "own")


def _install_servers(workspace: Workspace) -> None:
    servers.install(workspace.log("servers"))


def _install_torch(workspace: Workspace) -> None:
    pip(workspace, ["install", "-r", str(workspace.root / "requirements" / "torch.txt")], "torch")


def _usable(workspace: Workspace) -> bool:
    """Whether .venv was made by us, here, for the Python that it starts."""
    stamp = _stamp(workspace, "venv")
    if stamp is None:
        return False
    interpreter = probe(str(workspace.python))
    return interpreter is not None and stamp == _environment_key(workspace, interpreter)


def _environment_key(workspace: Workspace, interpreter: Interpreter) -> str:
    return _hash(str(workspace.root), *map(str, interpreter.version[:2]))


def _stamps(workspace: Workspace) -> Path:
    return workspace.environment / ".setup"


def _stamp(workspace: Workspace, name: str) -> str | None:
    try:
        return (_stamps(workspace) / name).read_text(encoding="utf-8")
    except OSError:
        return None


def _write_stamp(workspace: Workspace, name: str, value: str) -> None:
    # Replaced in one step: a stamp is either the old one or the new one.
    partial = _stamps(workspace) / f"{name}.partial"
    partial.write_text(value, encoding="utf-8")
    partial.replace(_stamps(workspace) / name)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
