"""Which engines `make run` installs: one that comes as a wheel, and what the models need besides."""

from __future__ import annotations

import platform
import subprocess
from typing import Sequence

from workspace_setup.workspace import Workspace

NAMES = {"openvino": "OpenVINO", "llama": "llama.cpp"}  # those for GGUF
WHEEL_MACHINES = ("x86_64", "amd64")
QUESTION = "ai_core.catalog.lacking_engines"
PATIENCE = 60.0  # s for the answer; it takes less than one


def first(kept: Sequence[str]) -> Sequence[str]:
    """What a server cannot do without: an engine for GGUF, the demo model's format, unless one is there."""
    if any(name in NAMES for name in kept):
        return ()
    return ("openvino",) if openvino_runs(platform.machine(), platform.libc_ver()[0]) else ("llama",)


def openvino_runs(machine: str, libc: str) -> bool:
    """Whether OpenVINO's wheels are for such a machine: its architecture and its C library by name."""
    return machine.lower() in WHEEL_MACHINES and libc == "glibc"


def lacking(workspace: Workspace, kept: Sequence[str]) -> list[str]:
    """The engines for GGUF that the configured models need and that are not installed.

    None where that cannot be told: then the server starts and says what is wrong with its models.
    """
    try:
        answer = subprocess.run(
            [str(workspace.python), "-m", QUESTION],
            cwd=workspace.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=PATIENCE,
            check=True,
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []
    return [name for name in NAMES if name in answer and name not in kept]
