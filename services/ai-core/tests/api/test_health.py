"""Health, with everything up, with parts of it away, and with nothing left that could answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ai_core.api.health import http_status, status_of
from ai_core.storage.redis_connection import RedisConnection
from edge_server import FakeEngine, Server, echo, running_server
from servers import PostgresServer, RedisServer


@asynccontextmanager
async def running(postgres_url: str, redis_url: str) -> AsyncIterator[Server]:
    redis = RedisConnection(redis_url)
    engine = FakeEngine(script=echo)
    async with running_server(engine, database=postgres_url, stores={"redis": redis}) as server:
        yield server
    await redis.close()


async def health(server: Server) -> tuple[int, Any]:
    response = await server.client.get("/api/v1/health")
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, response.json()


def states(facts: Any) -> dict[str, str]:
    return {name: store["state"] for name, store in facts["parts"]["stores"].items()}


async def until_ok(server: Server) -> None:
    async with asyncio.timeout(10):
        while (await health(server))[1]["status"] != "ok":
            pass


async def test_health_tells_every_part_and_how_long_it_took(postgres_url: str, redis_url: str) -> None:
    async with running(postgres_url, redis_url) as server:
        status, facts = await health(server)
        assert (status, facts["status"]) == (200, "ok")
        assert states(facts) == {"database": "ok", "redis": "ok"}
        assert all(0 < store["latency_ms"] < 1000 for store in facts["parts"]["stores"].values())
        assert facts["parts"]["engines"]["fake-model"]["state"] == "ready"


@pytest.mark.parametrize("how", ["stop", "pause"])
async def test_without_redis_the_service_is_degraded_not_dead(
    postgres_url: str, redis_server: RedisServer, how: str
) -> None:
    async with running(postgres_url, redis_server.url) as server:
        await health(server)
        await asyncio.to_thread(getattr(redis_server, how))
        status, facts = await health(server)
        assert (status, facts["status"]) == (200, "degraded")
        assert states(facts) == {"database": "ok", "redis": "unavailable"}
        assert facts["parts"]["stores"]["redis"]["latency_ms"] is None
        assert (await server.client.get("/readyz")).status_code == 200
        assert (await server.chat(prompt="x")).status_code == 200
        await asyncio.to_thread(redis_server.start)
        await until_ok(server)


@pytest.mark.parametrize("how", ["stop", "pause"])
async def test_without_the_database_the_service_is_degraded_not_dead(
    postgres_server: PostgresServer, postgres_url: str, redis_url: str, how: str
) -> None:
    async with running(postgres_url, redis_url) as server:
        await health(server)
        await asyncio.to_thread(getattr(postgres_server, how))
        # The key was verified within the last minute, so its owner is told.
        status, facts = await health(server)
        assert (status, facts["status"]) == (200, "degraded")
        assert states(facts) == {"database": "unavailable", "redis": "ok"}
        assert (await server.client.get("/readyz")).status_code == 200
        assert (await server.chat(prompt="x")).status_code == 200
        await asyncio.to_thread(postgres_server.start)
        await until_ok(server)


async def test_with_every_model_parked_nothing_can_be_answered(postgres_url: str, redis_url: str) -> None:
    async with running(postgres_url, redis_url) as server:
        server.engine.state = "parked"
        status, facts = await health(server)
        assert (status, facts["status"]) == (503, "unavailable")


async def test_a_server_that_shuts_down_says_so_and_takes_nothing(postgres_url: str, redis_url: str) -> None:
    async with running(postgres_url, redis_url) as server:
        server.context.inference.requests.close()
        status, facts = await health(server)
        assert (status, facts["status"]) == (503, "shutting_down")
        assert (await server.client.get("/readyz")).status_code == 503
        assert (await server.client.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    ("engines", "stores", "status"),
    [
        (["ready"], ["ok"], "ok"),
        (["loading", "stopped"], ["ok"], "ok"),
        (["ready", "parked"], ["ok"], "degraded"),
        (["restarting"], ["ok"], "degraded"),
        (["ready"], ["ok", "unavailable"], "degraded"),
        (["parked", "parked"], ["ok"], "unavailable"),
        (["parked"], ["unavailable"], "unavailable"),
        ([], ["ok"], "ok"),
    ],
)
def test_what_the_parts_mean_together(engines: list[str], stores: list[str], status: str) -> None:
    assert status_of(accepting=True, engines=engines, stores=stores) == status
    assert status_of(accepting=False, engines=engines, stores=stores) == "shutting_down"
    assert http_status(status) == (503 if status == "unavailable" else 200)
