"""What the README tells people to type works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ai_core_service import ROOT, Server, running

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
KEY_FILE = "var/local.key"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def for_server(text: str, server: Server) -> str:
    """The same text for a server that is elsewhere."""
    assert ADDRESS in text
    assert KEY_FILE in text
    return text.replace(ADDRESS, server.url).replace(KEY_FILE, str(server.key_path))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_first_curl_is_answered(server: Server) -> None:
    (command,) = [block for block in blocks("sh") if "curl" in block]
    done = subprocess.run(
        ["bash", "-c", for_server(command, server)], capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["finish_reason"] == "stop"
    assert "Neo" in answer["response"]


def test_the_example_for_the_sdk_runs(server: Server) -> None:
    (program,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", for_server(program, server)], capture_output=True, text=True, check=True
    )
    assert "Neo" in done.stdout


def test_every_door_that_it_names_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)", README))
    doors = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, flags=re.MULTILINE))
    assert {"run", "test", "chat"} <= named <= doors


def test_every_link_leads_somewhere() -> None:
    for document in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "services/ai-core/README.md"):
        path = ROOT / document
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{document} links to {target}"
