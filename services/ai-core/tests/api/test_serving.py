"""`ai-core serve` as operators run it, over the engine that needs no model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest


class Process:
    """A running `ai-core serve`."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        assert popen.stderr is not None
        self.welcome = "".join(iter(popen.stderr.readline, "\n"))
        url = re.search(r"http://\S+", self.welcome)
        assert url is not None
        self.url = url.group()
        key = re.search(r"neo_\w+", self.welcome)
        assert key is not None
        self.headers = {"X-API-Key": key.group()}

    def end(self, number: signal.Signals) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(timeout=60)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", "ai_core", "serve"],
        env=os.environ | {"ENGINE_BACKEND": "scripted", "API_PORT": "0", "LOG_LEVEL": "error"},
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    with popen:
        yield Process(popen)
        popen.kill()


def test_it_answers_and_its_engine_is_a_direct_child_that_ends_with_it(process: Process) -> None:
    body = {"prompt": "Bonjour"}
    answer = httpx.post(
        f"{process.url}/api/v1/chat", json=body, headers=process.headers, timeout=60, trust_env=False
    ).json()
    assert answer["response"] == "Bonjour"
    (engine,) = psutil.Process(process.popen.pid).children()
    assert process.end(signal.SIGTERM) == 0
    assert not engine.is_running()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_answer_is_finished_before_it_ends(process: Process, number: signal.Signals) -> None:
    body = {"prompt": "[[40]] [[slow 10]]", "stream": True}
    client = httpx.Client(base_url=process.url, headers=process.headers, timeout=60, trust_env=False)
    with client, client.stream("POST", "/api/v1/chat", json=body) as response:
        lines = response.iter_lines()
        assert "delta" in next(lines)
        process.popen.send_signal(number)
        last = [line for line in lines if line][-1]
    assert '"finish_reason":"stop"' in last
    assert process.popen.wait(timeout=60) == 0


def test_a_signal_before_the_first_request_ends_it_as_well(process: Process) -> None:
    httpx.get(f"{process.url}/readyz", trust_env=False).raise_for_status()
    assert process.end(signal.SIGTERM) == 0
