"""llama-cpp-python, compiled on this machine for this machine.

The wheel is kept in var/wheels under a key of everything it depends on, so that a new environment
does not cost another compilation, and a half-made one is never installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from workspace_setup import commands
from workspace_setup.errors import SetupError
from workspace_setup.progress import CompileProgress
from workspace_setup.workspace import Workspace, pip

PACKAGE = "llama-cpp-python"
NATIVE = "services/ai-core/native"  # our own kernels, compiled along with it
BYTES_PER_COMPILER = 1 << 30  # of memory: what one compiler may take on llama.cpp's larger files
_CPU_FEATURES = re.compile(r"^(?:flags|Features)\s*:\s*(.*)$", re.MULTILINE)


def cmake_args(options: Path, own: str) -> str:
    """Our options for the build, and the user's CMAKE_ARGS, which come last and so prevail."""
    return f"-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE={shlex.quote(str(options))} {own}".strip()


def key(workspace: Workspace, lock_entry: str) -> str:
    """Changes with the version, the build's options and the processor it is compiled for."""
    sources = [_options(workspace), *sorted((workspace.root / NATIVE).glob("*"))]
    ours = "".join(path.read_text(encoding="utf-8") for path in sources) + cmake_args(Path(), "")
    users = [os.environ.get(name, "") for name in ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS")]
    # Not its comments: which file asks for the package says nothing about the build.
    pinned = [line for line in lock_entry.splitlines() if not line.lstrip().startswith("#")]
    parts = ["\n".join(pinned), ours, *users, os.uname().machine, _cpu_features()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def build(workspace: Workspace, lock_entry: str, label: str) -> None:
    """Compile the wheel unless it is there. The environment stays as it is. Raises SetupError."""
    if _built(workspace, lock_entry) is None:
        _compile(workspace, lock_entry, _folder(workspace, lock_entry), label)


def install(workspace: Workspace, lock_entry: str) -> None:
    """Install the wheel, and see that it loads. Raises SetupError."""
    wheel = _built(workspace, lock_entry)
    pip(workspace, ["install", "--no-index", "--no-deps", "--force-reinstall", str(wheel)], "llama-install")
    failure = "llama.cpp was compiled but does not load; remove var/wheels and run this again."
    command = [str(workspace.python), "-c", "import llama_cpp.llama_cpp"]
    commands.run(command, workspace.log("llama-check"), failure)


def _options(workspace: Workspace) -> Path:
    return workspace.root / "tools" / "llama_cpp_build.cmake"


def _folder(workspace: Workspace, lock_entry: str) -> Path:
    return workspace.root / "var" / "wheels" / key(workspace, lock_entry)[:16]


def _built(workspace: Workspace, lock_entry: str) -> Path | None:
    return next(_folder(workspace, lock_entry).glob("*.whl"), None)


def _compile(workspace: Workspace, lock_entry: str, folder: Path, label: str) -> None:
    progress = CompileProgress(label, sys.stdout)
    print(f"{label}: compiling from source, which takes some minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="neo-setup-") as scratch:
        lock = Path(scratch) / "lock.txt"
        lock.write_text(lock_entry, encoding="utf-8")
        wheels = Path(scratch) / "wheels"
        arguments = ["wheel", "-v", "--no-deps", "--no-build-isolation", "--no-binary", PACKAGE]
        # pip's own cache does not know of CMAKE_ARGS or of the processor.
        arguments += ["--no-cache-dir", "--require-hashes", "-r", str(lock), "-w", str(wheels)]
        environ = workspace.environ(
            TMPDIR=scratch,
            CMAKE_ARGS=cmake_args(_options(workspace), os.environ.get("CMAKE_ARGS", "")),
            CMAKE_BUILD_PARALLEL_LEVEL=os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(_compilers())),
        )
        try:
            pip(workspace, arguments, "llama", environ, progress.line)
        except SetupError as error:
            raise SetupError(f"{error}\nllama.cpp could not be compiled.") from error
        finally:
            progress.close()
        _publish(next(wheels.glob("*.whl")), folder)


def _publish(wheel: Path, folder: Path) -> None:
    """Put the finished wheel in its place in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir()
    shutil.copy2(wheel, partial)
    partial.rename(folder)


def _compilers() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, memory // BYTES_PER_COMPILER))


def _cpu_features() -> str:
    try:
        found = _CPU_FEATURES.search(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return ""
    return "" if found is None else " ".join(sorted(found.group(1).split()))
