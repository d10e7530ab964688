"""`make run` keeps a house of processes: which run, what they are told, and how they end together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from house.plan import Channel, House, Service, plan
from house.supervisor import Supervisor, wait_before
from servicekit.settings import ServiceSettings, SettingsError

PATIENCE = 60.0
CORE = """
import http.server, pathlib, signal, sys
port, log = int(sys.argv[1]), pathlib.Path(sys.argv[2])
def note(word):
    with log.open("a") as file:
        file.write(word + "\\n")
def end(number, frame):
    note("core ends")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/exit":
            sys.exit(7)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
note("core begins")
http.server.HTTPServer(("127.0.0.1", port), Page).serve_forever()
"""
CHANNEL = """
import pathlib, signal, sys, time
log, status = pathlib.Path(sys.argv[1]), sys.argv[2]
def note(word):
    with log.open("a") as file:
        file.write(word + "\\n")
note("channel begins")
if status != "stay":
    sys.exit(int(status))
def end(number, frame):
    time.sleep(0.2)
    note("channel ends")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
note("channel works")
signal.pause()
"""


class BotSettings(ServiceSettings):
    prefix: ClassVar[str] = "BOT"
    own: ClassVar[frozenset[str]] = frozenset({"database_url"})

    bot_token: str
    database_url: str = "sqlite:///bot.db"


BOT = Channel("bot", ("bot", "run"), BotSettings, ("BOT_TOKEN",), "put BOT_TOKEN into .env")


@dataclass
class Run:
    """A supervisor at work, over processes that write down what they do."""

    path: Path
    port: int
    channel: str
    said: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[int]]:
        core = Service("AI core", (sys.executable, "-c", CORE, str(self.port), self.path), os.environ)
        channel = Service("bot", (sys.executable, "-c", CHANNEL, self.path, self.channel), os.environ)
        house = House(core, f"http://127.0.0.1:{self.port}", (channel,), ())
        task = asyncio.create_task(Supervisor(house, self.said.append, first_wait=0.01).run())
        try:
            yield task
        finally:
            if not task.done():
                os.kill(os.getpid(), signal.SIGTERM)
            await task

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    async def until(self, line: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            # Other processes write there: nothing would tell us.
            while self.lines().count(line) < times:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Run(tmp_path / "log", free.getsockname()[1], "stay")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_channels_first_and_then_the_core(run: Run, number: signal.Signals) -> None:
    async with run.running() as task:
        await run.until("channel works")
        os.kill(os.getpid(), number)
        assert await task == 0
    assert run.lines() == ["core begins", "channel begins", "channel works", "channel ends", "core ends"]


async def test_a_channel_that_dies_comes_back(run: Run) -> None:
    run.channel = "1"
    async with run.running():
        await run.until("channel begins", 4)
    assert run.lines().count("core begins") == 1
    assert "ended with status 1" in run.said[0]


async def test_a_channel_whose_settings_are_wrong_stays_off(run: Run) -> None:
    run.channel = "2"
    async with run.running() as task:
        async with asyncio.timeout(PATIENCE):
            while not run.said:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert "off" in run.said[0]
        assert not task.done()
    assert run.lines().count("channel begins") == 1


async def test_when_the_core_ends_all_end_with_its_status(run: Run) -> None:
    async with run.running() as task:
        await run.until("channel works")
        _, writer = await asyncio.open_connection("127.0.0.1", run.port)
        writer.write(b"GET /exit HTTP/1.0\r\n\r\n")
        assert await task == 7
        writer.close()
    assert run.lines()[-1] == "channel ends"


async def test_a_core_that_never_starts_has_no_channels(run: Run) -> None:
    with socket.create_server(("127.0.0.1", run.port)):  # its port is taken
        async with run.running() as task:
            assert await task == 1
    assert "channel begins" not in run.lines()


def test_restarts_wait_longer_and_longer_but_not_for_ever() -> None:
    waits = [wait_before(number) for number in range(1, 12)]
    assert waits[:4] == [1, 2, 4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == 60


def planned(tmp_path: Path, environ: Mapping[str, str], file: str = "") -> House:
    (tmp_path / ".env").write_text(file)
    return plan({"LOCAL_SECRET_PATH": str(tmp_path / "secret.key"), **environ}, tmp_path / ".env", [BOT])


def test_without_credentials_a_channel_is_off_and_it_is_said_how_to_switch_it_on(tmp_path: Path) -> None:
    house = planned(tmp_path, {})
    assert house.channels == ()
    assert house.lines[0] == "  off  bot                (put BOT_TOKEN into .env)"


@pytest.mark.parametrize("in_file", [True, False])
def test_with_credentials_it_is_on(tmp_path: Path, in_file: bool) -> None:
    house = planned(tmp_path, {} if in_file else {"BOT_TOKEN": "t"}, "BOT_TOKEN=t\n" if in_file else "")
    assert [channel.name for channel in house.channels] == ["bot"]
    assert house.lines[0] == "  on   bot"


def test_a_channel_is_not_given_what_is_meant_for_the_core(tmp_path: Path) -> None:
    environ = {
        "BOT_TOKEN": "t",
        "DATABASE_URL": "sqlite:///core.db",
        "BOT_DATABASE_URL": "sqlite:///mine.db",
        "LOG_LEVEL": "debug",
    }
    (bot,) = planned(tmp_path, environ).channels
    assert BotSettings.load(bot.environment).database_url == "sqlite:///mine.db"
    assert bot.environment["LOG_LEVEL"] == "debug"
    del environ["BOT_DATABASE_URL"]
    (bot,) = planned(tmp_path, environ).channels
    assert BotSettings.load(bot.environment).database_url == "sqlite:///bot.db"


def test_channels_find_the_core_where_it_listens(tmp_path: Path) -> None:
    (bot,) = planned(tmp_path, {"BOT_TOKEN": "t", "API_HOST": "0.0.0.0", "API_PORT": "8100"}).channels  # noqa: S104
    assert bot.environment["AI_API_URL"] == "http://127.0.0.1:8100"
    (bot,) = planned(tmp_path, {"BOT_TOKEN": "t"}, "AI_API_URL=http://elsewhere:8000\n").channels
    assert "AI_API_URL" not in bot.environment


def test_a_secret_is_made_where_none_is_set_and_never_shown(tmp_path: Path) -> None:
    house = planned(tmp_path, {})
    path = tmp_path / "secret.key"
    assert house.core.environment["SECRET_KEY_FILE"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert any(str(path) in line for line in house.lines)
    assert not any(path.read_text().strip() in line for line in house.lines)
    assert not any(str(path) in line for line in planned(tmp_path, {}).lines)


def test_a_secret_that_is_set_is_left_alone(tmp_path: Path) -> None:
    house = planned(tmp_path, {}, "SECRET_KEY=0123456789abcdef\n")
    assert "SECRET_KEY_FILE" not in house.core.environment
    assert not (tmp_path / "secret.key").exists()


def test_shared_settings_that_are_wrong_are_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="API_PORT"):
        planned(tmp_path, {"API_PORT": "many"})
