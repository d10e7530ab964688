"""Two of a service behind a real nginx: who cannot take requests gets none, and nobody notices."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from nginx_server import client_of, in_front_of
from servers import HOST

PATIENCE = 20.0
URL = "https://ai.test/v1/models"
GROUP = "ai-core-replicas"


class Replica:
    """One of two."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self._server: uvicorn.Server | None = None
        self.listener = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self.listener.getsockname()[1]}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        routes = [Route("/readyz", self.readyz), Route("/{path:path}", self.answer, methods=["GET", "POST"])]
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", lifespan="off")
        self._server = uvicorn.Server(config)
        task = asyncio.create_task(self._server.serve([self.listener]))
        yield
        self.stop()
        await task
        self.listener.close()

    def stop(self) -> None:
        """Its address takes no connections any more."""
        assert self._server is not None
        self._server.should_exit = True

    async def readyz(self, request: Request) -> Response:
        return JSONResponse({}, 200 if self.ready else 503)

    async def answer(self, request: Request) -> Response:
        await request.body()
        return JSONResponse({"name": self.name})


@pytest.fixture
async def one() -> AsyncIterator[Replica]:
    replica = Replica("one")
    async with replica.serving():
        yield replica


@pytest.fixture
async def other() -> AsyncIterator[Replica]:
    replica = Replica("other")
    async with replica.serving():
        yield replica


@pytest.fixture
async def client(one: Replica, other: Replica) -> AsyncIterator[httpx.AsyncClient]:
    settings = {
        "NGINX_REPLICAS": f"{GROUP}={one.address},{other.address} telegram-replicas=nowhere.invalid:1",
        "TELEGRAM_UPSTREAM": "telegram-replicas",
        "NGINX_REPLICA_SECONDS": "0.1",
        "NGINX_REPLICA_TIMEOUT": "5",
    }
    async with AsyncExitStack() as stack:
        # Its first look comes before it starts, and both answer only while this loop goes round.
        nginx = await asyncio.to_thread(stack.enter_context, in_front_of(GROUP, **settings))
        yield await stack.enter_async_context(client_of(nginx))


async def until(client: httpx.AsyncClient, expected: set[str]) -> None:
    """Until ten requests in a row reach exactly these; none of all may fail."""
    deadline = time.monotonic() + PATIENCE
    while (reached := set(await names(client, 10))) != expected:
        assert time.monotonic() < deadline, reached


async def names(client: httpx.AsyncClient, count: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(count):
        # Not on a connection that was kept: nginx closes those when it reads its configuration again, and a
        # program that has just begun to ask would have to ask once more.
        answer = await client.post(URL, json={}, headers={"connection": "close"})
        assert answer.status_code == 200, answer.text
        found[answer.json()["name"]] += 1
    return found


async def test_both_are_asked_while_both_take_requests(client: httpx.AsyncClient) -> None:
    await until(client, {"one", "other"})
    assert min((await names(client, 20)).values()) >= 5


async def test_who_takes_no_requests_gets_none_until_it_does_again(
    client: httpx.AsyncClient, one: Replica
) -> None:
    await until(client, {"one", "other"})
    one.ready = False
    await until(client, {"other"})
    one.ready = True
    await until(client, {"one", "other"})


async def test_who_is_gone_is_missed_by_nobody(client: httpx.AsyncClient, one: Replica) -> None:
    await until(client, {"one", "other"})
    one.stop()
    await until(client, {"other"})


async def test_where_none_says_that_it_is_ready_both_are_tried(
    client: httpx.AsyncClient, one: Replica, other: Replica
) -> None:
    await until(client, {"one", "other"})
    one.ready = False
    await until(client, {"other"})
    other.ready = False
    await until(client, {"one", "other"})


async def test_what_nginx_does_not_take_at_first_it_is_given_again(
    one: Replica, other: Replica, tmp_path: Path
) -> None:
    tried, free = tmp_path / "tried", tmp_path / "free"
    reload = 'kill -HUP "$(cat "${target%/conf.d/*}/tmp/nginx.pid")"'
    settings = {
        "NGINX_REPLICAS": f"{GROUP}={one.address},{other.address}",
        "NGINX_REPLICA_SECONDS": "0.1",
        "NGINX_REPLICA_TIMEOUT": "5",
        "NGINX_RELOAD": f"touch {tried} && test -e {free} && {reload}",
    }
    async with AsyncExitStack() as stack:
        nginx = await asyncio.to_thread(stack.enter_context, in_front_of(GROUP, **settings))
        client = await stack.enter_async_context(client_of(nginx))
        one.ready = False
        deadline = time.monotonic() + PATIENCE
        while not tried.exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert set(await names(client, 10)) == {"one", "other"}
        free.touch()
        await until(client, {"other"})


async def test_a_service_without_any_is_away(client: httpx.AsyncClient) -> None:
    answer = await client.post("https://telegram.test/api/v1/webhooks/telegram", json={})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
