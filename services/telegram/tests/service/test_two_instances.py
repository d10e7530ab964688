"""Two instances side by side, on one database and one Redis, behind one address."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest_asyncio
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ports import free_port
from scripted_core import Answers, ScriptedCore, scripted_core
from servers import RedisServer
from telegram_house import COMMAND, PATIENCE, SECRET, House, open_house
from telegram_server import TOKEN
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import Phrase, phrase

PEOPLE, MESSAGES = 8, 3


class Front:
    """Hands each update to the next instance in turn; to another one where that is gone."""

    def __init__(self) -> None:
        self.url = ""
        self.instances: list[str] = []
        self.taken: Counter[str] = Counter()
        self._turn = 0
        self._http = httpx.AsyncClient(trust_env=False, timeout=10)

    async def hand_on(self, request: Request) -> Response:
        body = await request.body()
        headers = {
            name: value for name, value in request.headers.items() if name.startswith(("x-", "content-type"))
        }
        for _ in self.instances:
            self._turn += 1
            instance = self.instances[self._turn % len(self.instances)]
            try:
                reply = await self._http.post(instance + request.url.path, content=body, headers=headers)
            except httpx.TransportError:
                continue
            self.taken[instance] += 1
            return Response(reply.content, reply.status_code)
        return Response(status_code=502)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Front]:
        app = Starlette(routes=[Route("/{path:path}", self.hand_on, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = asyncio.create_task(server.serve([listener]))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                yield self
            finally:
                server.should_exit = True
                await serving
                await self._http.aclose()


class Suite:
    """Both of them, and what is around."""

    def __init__(
        self, house: House, core: ScriptedCore, front: Front, second: asyncio.subprocess.Process
    ) -> None:
        self.house = house
        self.core = core
        self.front = front
        self.second = second

    async def samples(self, name: str) -> list[dict[str, float]]:
        """A metric of each instance, by the values of its labels."""
        found = []
        async with httpx.AsyncClient(trust_env=False) as http:
            for instance in self.front.instances:
                page = (await http.get(f"{instance}/metrics")).text
                samples = [one for family in text_string_to_metric_families(page) for one in family.samples]
                found.append(
                    {",".join(one.labels.values()): one.value for one in samples if one.name == name}
                )
        return found


@pytest_asyncio.fixture
async def suite(tmp_path: Path, postgres_url: str, redis_url: str) -> AsyncIterator[Suite]:
    shared = {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "WORKERS": "4",
        "MAX_MESSAGES_PER_MINUTE": "0",
    }
    async with scripted_core() as core, Front().open() as front:
        shared["WEBHOOK_URL"] = front.url
        async with open_house(core, tmp_path, **shared) as house:
            port = free_port()
            environ = {
                "PATH": os.environ["PATH"],
                "TELEGRAM_BOT_TOKEN": TOKEN,
                "TELEGRAM_API_URL": house.telegram.url,
                "TELEGRAM_PORT": str(port),
                "AI_API_URL": core.url,
                "AI_API_KEY": core.key,
                "SECRET_KEY": "a secret of the tests",
                "WEBHOOK_SECRET": SECRET,
                **shared,
            }
            second = await asyncio.create_subprocess_exec(
                COMMAND, "run", env=environ, cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL
            )
            front.instances = [house.url, f"http://127.0.0.1:{port}"]
            try:
                await _until_ready(front.instances[1])
                yield Suite(house, core, front, second)
            finally:
                if second.returncode is None:
                    second.terminate()
                await second.wait()


async def _until_ready(url: str) -> None:
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                if (await http.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def test_two_instances_answer_each_message_once_in_order_and_keep_one_pace(
    suite: Suite, redis_server: RedisServer
) -> None:
    house = suite.house
    guests = [house.guest() for _ in range(PEOPLE)]
    for number in range(MESSAGES):
        for guest in guests:
            guest.say(f"question {number}")
    expected = [f"question {number}" for number in range(MESSAGES)]
    await house.until(lambda: all(guest.shown() == expected for guest in guests))
    # Both took messages in, both worked, and Telegram never had to slow them down.
    assert min(suite.front.taken.values()) > 0
    assert len(suite.front.taken) == 2
    answers = await suite.samples("neo_telegram_answers_total")
    assert sum(one["small"] for one in answers) == PEOPLE * MESSAGES
    assert min(one["small"] for one in answers) > 0
    assert len(suite.core.asked) == PEOPLE * MESSAGES
    for calls in await suite.samples("neo_telegram_calls_total"):
        assert [count for name, count in calls.items() if "too_many_requests" in name and count] == []
    client = Redis.from_url(redis_server.url, decode_responses=True)
    try:
        channels = await client.pubsub_channels("*wakeups")
        assert [count for _, count in await client.pubsub_numsub(*channels)] == [2]
    finally:
        await client.aclose()

    # Whoever takes /stop in, it reaches the one that writes.
    talkers = [house.guest() for _ in range(2)]
    suite.core.on("raconte", Answers("Il était une fois " * 50, pieces=200, pause=0.1))
    for guest in talkers:
        guest.say("raconte")
    await house.until(lambda: all(guest.shown() for guest in talkers))
    for guest in talkers:
        guest.say("/stop")
    stopped = phrase(Phrase.CUT_SHORT, Language.FRENCH)
    await house.until(lambda: all(guest.shown()[-1] == stopped for guest in talkers))

    # One is enough when the other goes.
    suite.second.terminate()
    await suite.second.wait()
    assert suite.second.returncode == 0
    for guest in guests:
        guest.say("et maintenant ?")
    await house.until(lambda: all(guest.shown() == [*expected, "et maintenant ?"] for guest in guests))
