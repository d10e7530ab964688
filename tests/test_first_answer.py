"""A fresh machine without a compiler: `make run` answers, and a second one has nothing to install. With a
bot's token, it answers on Telegram, too."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.emulators.telegram.world import Person

from ai_core_service import PATIENCE, ROOT
from ports import free_port
from telegram_server import TOKEN, TelegramServer, telegram_server

TOOLS = ("sh", "make", "env", "cat", "grep", "awk", "dirname", "id", "uname")
"""All that is on that machine besides Python. The set-up may not fetch compilers: there is no apt-get."""
QUESTION = {"prompt": "Bonjour, qui es-tu ?", "temperature": 0}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This working tree as `git clone` would bring it."""
    clone = tmp_path_factory.mktemp("fresh") / "neo"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    return clone


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PATH with no compiler in it."""
    folder = tmp_path_factory.mktemp("bin")
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, f"{tool} is missing"
        (folder / tool).symlink_to(found)
    base = Path(sys.base_prefix) / "bin" / "python3"
    (folder / "python3").symlink_to(base)
    return folder


@contextmanager
def make_run(clone: Path, machine: Path, **settings: str) -> Iterator[tuple[str, list[str]]]:
    """`make run`, until it accepts requests: where it listens, and what it said until then."""
    port = free_port()
    users_own = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    process = subprocess.Popen(
        ["make", "run"],
        cwd=clone,
        env={
            "PATH": str(machine),
            "HOME": str(clone.parent),
            "API_PORT": str(port),
            **users_own,
            **settings,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "Try:" in line:
                ready.set()
        ready.set()

    listening = threading.Thread(target=listen)
    listening.start()
    try:
        ready.wait()
        assert any("Try:" in line for line in said), "".join(said)
        yield f"http://127.0.0.1:{port}", said
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=PATIENCE)
        listening.join()
        assert process.stdout is not None
        process.stdout.close()


def ask(url: str, clone: Path) -> str:
    key = (clone / "var/local.key").read_text().strip()
    transport = httpx.HTTPTransport(retries=10)  # it may not listen quite yet
    with httpx.Client(transport=transport, trust_env=False, timeout=PATIENCE) as client:
        answer = client.post(f"{url}/api/v1/chat", json=QUESTION, headers={"X-API-Key": key})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["response"])


@pytest.mark.timeout(600)  # a slow machine with a slow index
@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere llama.cpp is compiled")
def test_make_run_answers_on_a_fresh_machine_without_a_compiler(fresh: Path, machine: Path) -> None:
    with make_run(fresh, machine) as (url, said):
        assert "Neo" in ask(url, fresh)
    assert any("OpenVINO: done" in line for line in said)
    assert any(re.search("off +Telegram bot.*TELEGRAM_BOT_TOKEN", line) for line in said)
    assert not any("llama" in line for line in said)
    assert not (fresh / "var/wheels").exists()
    with telegram() as server:
        bot = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": server.url, "TELEGRAM_PORT": "0"}
        with make_run(fresh, machine, **bot) as (url, said):
            assert "Neo" in ask(url, fresh)
            assert "Neo" in ask_on_telegram(server, said)
    assert any(re.search("on +Telegram bot", line) for line in said)
    assert not any("done in" in line for line in said)
    assert (fresh / "var/secret.key").stat().st_mode & 0o777 == 0o600
    assert not any((fresh / "var/secret.key").read_text().strip() in line for line in said)


@contextmanager
def telegram() -> Iterator[TelegramServer]:
    """The emulator, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    serving = telegram_server()
    try:
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(PATIENCE)
    finally:
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def ask_on_telegram(server: TelegramServer, said: list[str]) -> str:
    anne = server.world.add_person(Person(42, "Anne", "fr"))
    server.world.say(anne, text=QUESTION["prompt"])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        shown = [message.versions[-1] for message in server.world.from_bot(anne.id)]
        if shown and not shown[-1].endswith("…"):
            return shown[-1]
        time.sleep(0.05)
    pytest.fail("".join(said))
