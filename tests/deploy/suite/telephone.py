"""People on Telegram.

Its stand-in runs in a thread here; the bot reaches it through a port of this machine, and it reaches the bot
through nginx.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tests.deploy.suite.installation import GATEWAY, HTTPS_PORT, TELEGRAM_PORT
from tests.deploy.suite.inwards import InwardsAsync
from tests.emulators.telegram.world import Person

from telegram_server import TOKEN, TelegramServer, telegram_server

PATIENCE = 180.0
"""Seconds."""
Result = TypeVar("Result")
SETTINGS = {
    "TELEGRAM_BOT_TOKEN": TOKEN,
    "TELEGRAM_API_URL": f"http://{GATEWAY}:{TELEGRAM_PORT}",
    "WEBHOOK_URL": "https://telegram.neo.test",
}


class Telephone:
    """Telegram, for as many people as are wanted."""

    def __init__(self, trusted: Path, port: int = TELEGRAM_PORT, https_port: int = HTTPS_PORT) -> None:
        """``port``: where bots find it on this machine; ``https_port``: where it finds their nginx."""
        self._port, self._https_port = port, https_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._people: dict[int, Person] = {}
        self._telegram = self._wait(self._open(trusted))

    def say(self, person: int, text: str) -> None:
        """Somebody writes to the bot."""

        async def say() -> None:
            if person not in self._people:
                self._people[person] = self._telegram.world.add_person(Person(person, f"Anne {person}"))
            self._telegram.world.say(self._people[person], text=text)
            self._telegram.delivery.announce()

        self._wait(say())

    def shown(self, person: int) -> list[str]:
        """What the bot's messages to somebody show now."""

        async def shown() -> list[str]:
            return [message.versions[-1] for message in self._telegram.world.from_bot(person)]

        return self._wait(shown())

    def answers(self, person: int) -> list[str]:
        """Of these, what is complete: no beginning of an answer, no word that it takes longer."""
        return [text for text in self.shown(person) if not text.endswith("…")]

    def until(self, person: int, count: int = 1) -> list[str]:
        """The answers, when there are so many."""
        deadline = time.monotonic() + PATIENCE
        while len(answers := self.answers(person)) < count:
            assert time.monotonic() < deadline, (person, self.shown(person), self.webhook())
            time.sleep(0.2)
        return answers

    def webhook(self) -> dict[str, Any]:
        """What Telegram knows of the bot's webhook."""

        async def info() -> dict[str, Any]:
            return self._telegram.delivery.info()

        return self._wait(info())

    def close(self) -> None:
        """Hang up."""
        self._wait(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _open(self, trusted: Path) -> TelegramServer:
        http = httpx.AsyncClient(transport=InwardsAsync(trusted, self._https_port), timeout=10)
        telegram = await self._stack.enter_async_context(telegram_server(TOKEN, http=http))
        port = int(telegram.url.rpartition(":")[2])

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

        server = await asyncio.start_server(pass_on, None, self._port)
        self._stack.callback(server.close)
        return telegram


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    writer.close()
