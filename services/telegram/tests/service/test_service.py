"""The whole service as it is run: its own process, the emulator, a real AI core with the demo model."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.emulators.telegram.world import Person

from ai_core_service import QUESTIONS, Server, running
from ports import free_port
from telegram_server import TOKEN, TelegramServer, telegram_server
from telegram_service.web import SECRET_HEADER, WEBHOOK_PATH

COMMAND = Path(sys.executable).with_name("telegram-service")
PATIENCE = 120.0
SECRET = "a-secret-of-the-tests"
ANNE = 42


@pytest.fixture(scope="module")
def core() -> Iterator[Server]:
    with running() as server:
        yield server


@dataclass
class Chat:
    """Anne's telephone, and the service behind it."""

    telegram: TelegramServer
    anne: Person
    folder: Path
    settings: dict[str, str]
    port: int

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def say(self, text: str) -> None:
        self.telegram.world.say(self.anne, text=text)
        self.telegram.delivery.announce()

    def shown(self) -> list[str]:
        return [message.versions[-1] for message in self.telegram.world.from_bot(ANNE)]

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            seen = -1
            while not reached():
                # The transcript grows with every call of the bot.
                while len(self.telegram.world.transcript) == seen:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                seen = len(self.telegram.world.transcript)

    async def answers(self, text: str, count: int = 1) -> list[str]:
        before = len(self.shown())
        self.say(text)
        await self.until(lambda: len(self.shown()) >= before + count and "…" not in self.shown()[-1][-2:])
        return self.shown()[before:]

    @asynccontextmanager
    async def service(self) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            COMMAND, "run", env=self.settings, cwd=self.folder, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        log: list[bytes] = []
        up = asyncio.Event()

        async def read() -> None:
            assert process.stderr is not None
            async for line in process.stderr:
                log.append(line)
                if b'"serving"' in line:
                    up.set()

        reading = asyncio.create_task(read())
        try:
            async with asyncio.timeout(PATIENCE):
                await up.wait()
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()
            await reading
        assert process.returncode in {0, -signal.SIGKILL}, b"".join(log).decode()
        assert b"Traceback" not in b"".join(log), b"".join(log).decode()


@pytest.fixture(params=["polling", "webhook"])
async def chat(request: pytest.FixtureRequest, core: Server, tmp_path: Path) -> AsyncIterator[Chat]:
    port = free_port()
    async with telegram_server() as telegram:
        settings = {
            "PATH": os.environ["PATH"],
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": telegram.url,
            "TELEGRAM_PORT": str(port),
            "AI_API_URL": core.url,
            "AI_API_KEY": core.key,
            "DATABASE_URL": f"sqlite:///{tmp_path}/telegram.db",
            "SECRET_KEY": "a secret of the tests",
        }
        if request.param == "webhook":
            settings |= {"WEBHOOK_URL": f"http://127.0.0.1:{port}", "WEBHOOK_SECRET": SECRET}
        anne = telegram.world.add_person(Person(ANNE, "Anne", "fr"))
        yield Chat(telegram, anne, tmp_path, settings, port)


async def test_a_conversation_in_french(chat: Chat) -> None:
    question = QUESTIONS[0]
    async with chat.service():
        (welcome,) = await chat.answers("/start")
        assert "Neo" in welcome
        (answer,) = await chat.answers(question)
        assert len(answer) > 10
        assert chat.telegram.world.commands.keys() == {"", "fr", "en"}
        async with httpx.AsyncClient(trust_env=False) as http:
            health = await http.get(chat.url("/health"))
            assert {part["status"] for part in health.json()["parts"].values()} == {"ok"}
            assert (await http.get(chat.url("/readyz"))).status_code == 200
            forged = await http.post(chat.url(WEBHOOK_PATH), json={"update_id": 1})
            assert forged.status_code == 403
            wrong = await http.post(
                chat.url(WEBHOOK_PATH), json={"update_id": 1}, headers={SECRET_HEADER: "guess"}
            )
            assert wrong.status_code == 403


async def test_a_killed_service_goes_on_where_it_was(chat: Chat) -> None:
    async with chat.service() as process:
        await chat.answers("/help")
        process.kill()
        await process.wait()
    before = len(chat.shown())
    chat.say(QUESTIONS[0])
    async with chat.service():
        await chat.until(lambda: len(chat.shown()) > before and not chat.shown()[-1].endswith("…"))
    assert len(chat.shown()) == before + 1


async def test_a_wrong_token_is_said_in_one_sentence(chat: Chat) -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "run",
        env=chat.settings | {"TELEGRAM_BOT_TOKEN": "1:wrong"},
        cwd=chat.folder,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"TELEGRAM_BOT_TOKEN" in errors
    assert b"Traceback" not in errors
