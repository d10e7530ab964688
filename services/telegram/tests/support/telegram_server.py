"""The emulator behind a real socket, and a bot that talks to it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from fastapi import FastAPI
from telegram import Bot
from telegram.request import HTTPXRequest
from tests.emulators.telegram.app import BotApi, create_emulator
from tests.emulators.telegram.delivery import Delivery, Mangle
from tests.emulators.telegram.world import World

TOKEN = "7000000:test-token"


@dataclass(frozen=True)
class TelegramServer:
    """Telegram, as far as tests go."""

    url: str
    world: World
    delivery: Delivery
    api: BotApi

    @asynccontextmanager
    async def bot(self, token: str = TOKEN) -> AsyncIterator[Bot]:
        """A bot of python-telegram-bot, ready to call."""
        bot = Bot(
            token,
            base_url=f"{self.url}/bot",
            base_file_url=f"{self.url}/file/bot",
            request=HTTPXRequest(read_timeout=2.0, httpx_kwargs={"trust_env": False}),
        )
        async with bot:
            yield bot


@asynccontextmanager
async def telegram_server(
    token: str = TOKEN,
    *,
    clock: Callable[[], float] = time.time,
    mangle: Mangle = list,
    http: httpx.AsyncClient | None = None,
    also: Callable[[FastAPI, BotApi], None] | None = None,
) -> AsyncIterator[TelegramServer]:
    """Served from this event loop until the block ends.

    ``also`` adds to what is served; ``http`` calls webhooks.
    """
    world = World(clock)
    delivery = Delivery(world, mangle, http)
    api = BotApi(world, delivery, token)
    app = create_emulator(api)
    if also is not None:
        also(app, api)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Else each answer's body would wait some 40 ms for the acknowledgement of its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield TelegramServer(f"http://127.0.0.1:{listener.getsockname()[1]}", world, delivery, api)
        finally:
            server.should_exit = True
            delivery.end_polls()
            await serving
