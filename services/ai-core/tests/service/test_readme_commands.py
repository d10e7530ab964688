"""The commands in the service's README are answered by the service."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from ai_core_service import ROOT, Server

README = (ROOT / "services/ai-core/README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return [block for block in found if ADDRESS in block]


@pytest.mark.parametrize("command", blocks("sh"))
def test_a_command_is_answered(server: Server, command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl -sS ").replace(ADDRESS, server.url)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NEO_API_KEY": server.key},
    )
    assert done.stdout
    assert '"error"' not in done.stdout


@pytest.mark.parametrize("program", blocks("python"))
def test_a_program_runs(server: Server, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program.replace(ADDRESS, server.url)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NEO_API_KEY": server.key},
    )
    assert done.stdout


def test_there_are_commands() -> None:
    assert len(blocks("sh")) >= 4
