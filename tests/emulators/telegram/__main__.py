"""The Telegram service without Telegram: the emulator with its page, the bot, and an AI core if none runs.

make telegram-emulator
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from tests.emulators.telegram.app import BotApi, create_emulator
from tests.emulators.telegram.delivery import Delivery
from tests.emulators.telegram.page import add_page
from tests.emulators.telegram.world import Chat, Person, World

HOST = "127.0.0.1"
PORT = 8081
ROOT = Path(__file__).resolve().parents[3]
ANSWER_SECONDS = 2.0
END_SECONDS = 30.0


def world_of_newcomers() -> World:
    """Two people and a group, at the present time."""
    world = World(time.time)
    world.add_person(Person(42, "Anne", "fr"))
    world.add_person(Person(43, "Bob", "en"))
    world.add_group(Chat(-1001, "supergroup", "Bureau"))
    return world


async def main() -> int:
    """Until Ctrl-C or SIGTERM. Returns the exit status."""
    port = int(os.environ.get("TELEGRAM_EMULATOR_PORT", PORT))
    core = os.environ.get("AI_API_URL", "http://127.0.0.1:8000")
    world = world_of_newcomers()
    api = BotApi(world, Delivery(world), f"7000000:{secrets.token_hex(16)}")
    app = create_emulator(api)
    add_page(app, api)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_serving(app, api, port))
        if await _answers(core):
            print(f"The AI core at {core} answers.")
        else:
            print(f"No AI core answers at {core}: starting one with the demo model.")
            await stack.enter_async_context(_program("ai-core", "serve", {}, stop))
        environ = {
            "TELEGRAM_BOT_TOKEN": api.token,
            "TELEGRAM_API_URL": f"http://{HOST}:{port}",
            "TELEGRAM_DATABASE_URL": f"sqlite:///{ROOT}/var/emulator/telegram.db",
            "TELEGRAM_WEBHOOK_URL": "",
            "WEBHOOK_URL": "",
        }
        (ROOT / "var/emulator").mkdir(parents=True, exist_ok=True)
        await stack.enter_async_context(_program("telegram-service", "run", environ, stop))
        print(f"\nOpen http://{HOST}:{port} and chat with the bot. Ctrl-C ends it.\n", flush=True)
        await stop.wait()
    return 0


@asynccontextmanager
async def _serving(app: FastAPI, api: BotApi, port: int) -> AsyncIterator[None]:
    config = uvicorn.Config(app, HOST, port, log_level="warning", timeout_graceful_shutdown=1)
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        if serving.done():
            raise SystemExit(f"Port {port} is taken: TELEGRAM_EMULATOR_PORT=… chooses another.")
        await asyncio.sleep(0.05)
    try:
        yield
    finally:
        server.should_exit = True
        api.delivery.end_polls()
        await serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are ours: the bot ends first.
        yield


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as http:
        try:
            return (await http.get(f"{url}/livez")).is_success
        except httpx.HTTPError:
            return False


@asynccontextmanager
async def _program(
    name: str, command: str, environ: dict[str, str], stop: asyncio.Event
) -> AsyncIterator[None]:
    """One of our own programs; if it ends by itself, so does everything."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name(name),
        command,
        env=os.environ | {"LOG_LEVEL": "warning"} | environ,
        cwd=ROOT,
        # Ctrl-C in the terminal is for us, who end them one after the other.
        start_new_session=True,
    )

    async def watch() -> None:
        if await process.wait() and not stop.is_set():
            print(f"{name} has ended; what it said is above.", file=sys.stderr)
        stop.set()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait({watching}, timeout=END_SECONDS)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
