"""The stages of the set-up, each with a stamp in .venv that says what it was made from."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable

from workspace_setup import commands, llama, locks, servers
from workspace_setup.progress import clock_text
from workspace_setup.system import Interpreter, probe
from workspace_setup.workspace import Workspace, pip

OWN_PACKAGES = ("libs/servicekit", "services/ai-core", "services/telegram", "services/mail")
ENGINES = ("openvino", "onnx", "transformers", "llama")
EVERYTHING = (*ENGINES, "test")
BEGUN = "begun"
# Without bytecode, which Python makes of the modules that are imported, and pip of all there are.
INSTALL = ["install", "--no-compile"]
HASHED = [*INSTALL, "--no-deps", "--no-build-isolation", "--require-hashes"]


@dataclass(frozen=True)
class Stage:
    name: str
    what: str
    key: str  # changes whenever the stage has to be done again
    install: Callable[[Workspace], None]
    build: Callable[[Workspace, str], None] = lambda workspace, label: None  # before, outside .venv
    stamped: bool = True  # without a stamp, it is planned only when it has to be done


def planned(workspace: Workspace, wanted: Iterable[str]) -> list[Stage]:
    """The stages for these of EVERYTHING, in order, and for what all of them stand on."""
    names = set(wanted)
    own = [(workspace.root / path / "pyproject.toml").read_text(encoding="utf-8") for path in OWN_PACKAGES]
    plan = [
        _of_lock(workspace, "build", "what makes packages of sources", "build.txt"),
        _of_lock(workspace, "packages", "Python packages", "run.txt"),
        Stage("own", "the workspace's own packages", _hash(*own), _install_own),
    ]
    if "openvino" in names:
        plan.append(_of_lock(workspace, "openvino", "OpenVINO", "openvino.txt"))
    if "onnx" in names:
        plan.append(_of_lock(workspace, "onnx", "onnxruntime-genai", "onnx.txt"))
    if "transformers" in names:
        plan.append(_of_lock(workspace, "transformers", "transformers", "transformers.txt"))
    if "test" in names:
        plan.append(_of_lock(workspace, "test", "tests and linters", "test.txt"))
        if servers.missing():
            # First: what only the user can mend should not wait for a compilation.
            plan.insert(0, Stage("servers", "servers for the tests", "", _install_servers, stamped=False))
    if "deploy" in names and servers.missing_for_containers():
        plan.insert(0, Stage("docker", "Docker for the tests", "", _install_docker, stamped=False))
    if names & {"transformers", "test"}:
        plan.append(Stage("torch", "torch", _hash(workspace.lock("torch.txt")), _install_torch))
    return plan + (_llama(workspace) if "llama" in names else [])


def kept(workspace: Workspace) -> list[str]:
    """The engines that are installed here, or were until their locks changed."""
    return [name for name in ENGINES if _stamp(workspace, name) not in {None, BEGUN}]


def pending(workspace: Workspace, wanted: Iterable[str]) -> list[Stage]:
    """What remains to be done, in order; everything, if the environment itself is of no use."""
    plan = planned(workspace, wanted)
    if not _usable(workspace):
        return plan
    return [stage for stage in plan if not stage.stamped or _stamp(workspace, stage.name) != stage.key]


def prepare(workspace: Workspace, interpreter: Interpreter, wanted: Iterable[str]) -> None:
    """Make the environment anew, unless each stage is either complete or was never begun.

    What was broken off, or made from other locks, leaves files behind that pip takes for installed
    packages. The wheel that takes long to make is kept elsewhere.
    """
    redo = [
        stage.name
        for stage in pending(workspace, wanted)
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


def _of_lock(workspace: Workspace, name: str, what: str, file: str) -> Stage:
    lock = workspace.lock(file)
    return Stage(name, what, _hash(lock), lambda ws: _install_lock(ws, name, lock))


def _llama(workspace: Workspace) -> list[Stage]:
    entry, others = locks.split(workspace.lock("llama.txt"), llama.PACKAGE)
    return [
        Stage(
            "llama-tools",
            "what compiles llama.cpp",
            _hash(others),
            lambda ws: _install_lock(ws, "llama-tools", others),
        ),
        Stage(
            "llama",
            "llama.cpp",
            llama.key(workspace, entry),
            install=lambda ws: llama.install(ws, entry),
            build=lambda ws, label: llama.build(ws, entry, label),
        ),
    ]


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


def _install_docker(workspace: Workspace) -> None:
    servers.install(workspace.log("docker"), servers.missing_for_containers)


def _install_torch(workspace: Workspace) -> None:
    pip(workspace, [*INSTALL, "-r", str(workspace.root / "requirements" / "torch.txt")], "torch")


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
