"""Where things are, and pip in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from workspace_setup import commands


@dataclass(frozen=True)
class Workspace:
    root: Path

    @property
    def environment(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def log(self, name: str) -> Path:
        return self.root / "var" / "log" / f"setup-{name}.log"

    def lock(self, name: str) -> str:
        return (self.root / "requirements" / name).read_text(encoding="utf-8")

    def environ(self, **more: str) -> dict[str, str]:
        """The environment for commands, in which those of .venv (cmake, ninja) come first."""
        path = f"{self.environment / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", **more}


def pip(
    workspace: Workspace,
    arguments: list[str],
    log_name: str,
    environ: dict[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run pip in .venv, with the user's own pip configuration. Raises SetupError."""
    log = workspace.log(log_name)
    failure = f"pip could not finish; the whole log is {log.relative_to(workspace.root)}."
    command = [str(workspace.python), "-m", "pip", *arguments]
    commands.run(command, log, failure, environ or workspace.environ(), on_line)
