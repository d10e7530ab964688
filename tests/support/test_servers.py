"""The servers of the tests keep what they promise."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis.asyncio
from redis import exceptions
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from servers import PostgresServer, RedisServer


@pytest.mark.parametrize("round_", [1, 2])
async def test_each_test_finds_redis_empty(redis_url: str, round_: int) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


@pytest.mark.parametrize("round_", [1, 2])
async def test_each_test_finds_an_empty_database(postgres_url: str, round_: int) -> None:
    engine = create_async_engine(make_url(postgres_url).set(drivername="postgresql+asyncpg"))
    async with engine.begin() as connection:
        found = await connection.execute(text("SELECT 1 FROM pg_tables WHERE schemaname = 'public'"))
        assert found.all() == []
        await connection.execute(text("CREATE TABLE left_behind ()"))
    await engine.dispose()


@pytest.mark.parametrize("pull", [RedisServer.stop, RedisServer.kill])
async def test_redis_without_power(redis_server: RedisServer, pull: Callable[[RedisServer], None]) -> None:
    async with redis.asyncio.from_url(redis_server.url, retry=None) as client:
        await client.set("key", "value")
        pull(redis_server)
        with pytest.raises(exceptions.ConnectionError):
            await client.get("key")
        redis_server.start()
        assert await client.get("key") is None


async def test_a_redis_that_hangs_goes_on_with_what_it_held(redis_server: RedisServer) -> None:
    async with redis.asyncio.from_url(redis_server.url, socket_timeout=0.05, retry=None) as client:
        await client.set("key", "value")
        redis_server.pause()
        with pytest.raises(exceptions.TimeoutError):
            await client.get("key")
        redis_server.resume()
    async with redis.asyncio.from_url(redis_server.url) as client:
        assert await client.get("key") == b"value"


@pytest.mark.parametrize("pull", [PostgresServer.stop, PostgresServer.kill])
def test_postgresql_without_power_keeps_what_was_written(
    postgres_server: PostgresServer, postgres_url: str, pull: Callable[[PostgresServer], None]
) -> None:
    database = postgres_url.rpartition("/")[2]
    postgres_server.execute("CREATE TABLE kept AS SELECT 7", database)
    pull(postgres_server)
    assert not postgres_server.ready()
    postgres_server.start()
    assert postgres_server.execute("SELECT * FROM kept", database) == "7"


def test_a_postgresql_that_hangs_goes_on(postgres_server: PostgresServer) -> None:
    with ThreadPoolExecutor() as threads:
        postgres_server.pause()
        asked = threads.submit(postgres_server.execute, "SELECT 7")
        with pytest.raises(TimeoutError):
            asked.result(timeout=0.2)
        postgres_server.resume()
        assert asked.result() == "7"


@pytest.mark.parametrize("state", ["stop", "pause"])
def test_what_a_test_leaves_is_mended_for_the_next(redis_server: RedisServer, state: str) -> None:
    getattr(redis_server, state)()
    # test_each_test_finds_redis_empty and all others would fail without this.
    redis_server.start()
    assert redis_server.ready()


async def test_a_password_can_be_asked_for() -> None:
    server = RedisServer("s3cret")
    try:
        server.start()
        server.empty()
        async with redis.asyncio.from_url(server.url, password="s3cret") as client:
            assert await client.ping()
        async with redis.asyncio.from_url(server.url) as client:
            with pytest.raises(exceptions.AuthenticationError):
                await client.ping()
    finally:
        server.close()
    assert not server.folder.exists()


def test_ports_are_below_the_ephemeral_range(
    redis_server: RedisServer, postgres_server: PostgresServer
) -> None:
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(ephemeral.read_text().split()[0]) if ephemeral.exists() else 32_768
    assert max(redis_server.port, postgres_server.port) < lowest
    assert redis_server.port != postgres_server.port
