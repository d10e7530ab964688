"""The whole service as it is run, in a process of its own, with the emulator and an AI core around it: one
for many tests, each with people of its own."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
from tests.emulators.telegram.world import Person

from ports import free_port
from telegram_server import TOKEN, TelegramServer, telegram_server
from telegram_service.web import SECRET_HEADER, WEBHOOK_PATH

COMMAND = Path(sys.executable).with_name("telegram-service")
PATIENCE = 120.0
SECRET = "a-secret-of-the-tests"


class Core(Protocol):
    """An AI core, real or not."""

    @property
    def url(self) -> str:
        """Where it is."""

    @property
    def key(self) -> str:
        """Opens it."""


@dataclass
class House:
    """What people see of the service, and what is around it. It gets updates by its webhook."""

    telegram: TelegramServer
    url: str
    folder: Path
    http: httpx.AsyncClient
    settings: dict[str, str]
    process: asyncio.subprocess.Process | None = None
    log: list[bytes] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1_000))

    async def start(self) -> None:
        """The service, up; again after it was killed."""
        self.process = await asyncio.create_subprocess_exec(
            COMMAND, "run", env=self.settings, cwd=self.folder, stderr=asyncio.subprocess.PIPE
        )
        process, seen = self.process, len(self.log)
        self._reading = asyncio.create_task(_collect(process, self.log))
        await self.until(
            lambda: any(b'"serving"' in line for line in self.log[seen:]) or process.returncode is not None
        )
        assert process.returncode is None, b"".join(self.log).decode()

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; returns when it has ended."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(how)
            await self.process.wait()
        if self._reading is not None:
            await self._reading

    def guest(self, language: str = "fr") -> Guest:
        """Somebody whom the service has never met."""
        number = next(self._ids)
        return Guest(self, self.telegram.world.add_person(Person(number, f"Guest {number}", language)))

    async def post(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """What somebody sends to the webhook who may not be Telegram."""
        return await self.http.post(WEBHOOK_PATH, content=body, headers=headers or {SECRET_HEADER: SECRET})

    async def until(self, reached: Callable[[], object]) -> None:
        """Wait for the bot's next calls until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not reached():  # noqa: ASYNC110 — the calls come from another process
                await asyncio.sleep(0.02)


@dataclass
class Guest:
    """Somebody's telephone."""

    house: House
    person: Person

    def say(self, text: str, **fields: Any) -> None:
        """Write."""
        self.house.telegram.world.say(self.person, text=text, **fields)
        self.house.telegram.delivery.announce()

    def give(self, name: str, content: bytes, **fields: Any) -> None:
        """Send a file."""
        self.house.telegram.world.give(self.person, name, content, **fields)
        self.house.telegram.delivery.announce()

    def press(self, data: str) -> None:
        """Press a button of the last message, or say so."""
        last = self.house.telegram.world.from_bot(self.person.id)[-1]
        self.house.telegram.world.press(self.person, self.person.id, last.id, data)
        self.house.telegram.delivery.announce()

    def shown(self) -> list[str]:
        """What the bot said, as it is shown now."""
        return [message.versions[-1] for message in self.house.telegram.world.from_bot(self.person.id)]

    async def hears(self, count: int = 1) -> list[str]:
        """The next messages of the bot, complete."""
        await self.house.until(
            lambda: len(self.shown()) >= count and not any(text.endswith(" …") for text in self.shown())
        )
        heard = self.shown()
        self.house.telegram.world.clear(self.person.id)
        return heard


@asynccontextmanager
async def open_house(core: Core, folder: Path, **settings: str) -> AsyncIterator[House]:
    """The service, up; more settings go to its environment."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with telegram_server() as telegram, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        environ = {
            "PATH": os.environ["PATH"],
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": telegram.url,
            "TELEGRAM_PORT": str(port),
            "AI_API_URL": core.url,
            "AI_API_KEY": core.key,
            "DATABASE_URL": f"sqlite:///{folder}/telegram.db",
            "SECRET_KEY": "a secret of the tests",
            "WEBHOOK_URL": url,
            "WEBHOOK_SECRET": SECRET,
            **settings,
        }
        house = House(telegram, url, folder, http, environ)
        try:
            await house.start()
            yield house
        finally:
            await house.stop()


async def _collect(process: asyncio.subprocess.Process, log: list[bytes]) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        log.append(line)  # noqa: PERF401 — it is read while it grows
