"""A Redis that is away, hangs or refuses, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from servers import RedisServer
from servicekit.key_value.failures import StoreUnavailable
from servicekit.key_value.redis_connection import TIMEOUT, RedisConnection
from servicekit.key_value.redis_store import RedisStore

LONG = 1000.0
NOWHERE = "redis://127.0.0.1:9/0"
RECOVERY = 5.0
"""Seconds: what is promised."""


@asynccontextmanager
async def connected(
    url: str, password: str | None = None, patience: float = TIMEOUT
) -> AsyncIterator[RedisStore]:
    connection = RedisConnection(url, password=password, timeout=patience)
    store = RedisStore(connection, prefix="neo:")
    yield store
    await store.close()
    await connection.close()


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    async with connected(redis_server.url) as store:
        await until_used_again(store)
        yield store


async def until_used_again(store: RedisStore) -> None:
    async with asyncio.timeout(RECOVERY):
        while True:
            try:
                await store.set("probe", b"", LONG)
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


def fails_at_once(store: RedisStore) -> None:
    """Without waiting for anything: the operation does not even suspend."""
    operation = store.get("k")
    with pytest.raises(StoreUnavailable) as caught:
        operation.send(None)
    assert caught.value.retry_after is not None


async def test_a_redis_that_is_away_is_noticed_costs_nothing_and_is_found_again(
    store: RedisStore, redis_server: RedisServer
) -> None:
    await store.set("k", b"1", LONG)
    await asyncio.to_thread(redis_server.stop)
    with pytest.raises(StoreUnavailable):
        await store.get("k")
    await asyncio.sleep(0.05)
    fails_at_once(store)
    await asyncio.to_thread(redis_server.start)
    await until_used_again(store)
    # It kept everything in memory.
    assert await store.get("k") is None


async def test_a_redis_that_hangs_is_noticed_and_its_late_answers_reach_nobody(
    store: RedisStore, redis_server: RedisServer
) -> None:
    for number in range(10):
        await store.set(f"k{number}", b"%d" % number, LONG)
    redis_server.pause()
    results = await asyncio.gather(*(store.get(f"k{n}") for n in range(10)), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 10
    fails_at_once(store)
    redis_server.resume()
    await until_used_again(store)
    assert [await store.get(f"k{n}") for n in range(10)] == [b"%d" % n for n in range(10)]


async def test_scripts_are_known_again_after_a_restart(store: RedisStore, redis_server: RedisServer) -> None:
    assert await store.swap("s", None, b"1", LONG)
    await asyncio.to_thread(redis_server.stop)
    await asyncio.to_thread(redis_server.start)
    await until_used_again(store)
    assert await store.swap("s", None, b"2", LONG)
    await store.index_put("i", "m", b"v", LONG)
    assert await store.index_list("i", 1) == [("m", b"v")]


async def test_requests_all_through_an_outage_get_the_truth_or_an_error(
    store: RedisStore, redis_server: RedisServer
) -> None:
    over = asyncio.Event()
    answered = failed = 0

    async def work(number: int) -> None:
        nonlocal answered, failed
        key, turn = f"w{number}", 0
        while not over.is_set():
            turn += 1
            value = b"%d %d" % (number, turn)
            try:
                await store.set(key, value, LONG)
                assert await store.get(key) in {value, None}
                answered += 1
            except StoreUnavailable:
                failed += 1
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as workers:
        for number in range(20):
            workers.create_task(work(number))
        for stop in (redis_server.stop, redis_server.kill):
            before = answered, failed
            await asyncio.to_thread(stop)
            await asyncio.sleep(0.1)
            await asyncio.to_thread(redis_server.start)
            await until_used_again(store)
            await asyncio.sleep(0.1)
            assert answered > before[0]
            assert failed > before[1]
        over.set()


async def test_a_store_that_never_was_there_says_so_once_in_the_log() -> None:
    async with connected(NOWHERE) as store:
        with capture_logs() as lines:
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await store.get("k")
                await asyncio.sleep(0.02)
        assert [(line["event"], line["away"]) for line in lines] == [("store failed", True)]


async def test_a_wrong_password_is_an_outage_and_stands_in_no_log() -> None:
    server = RedisServer("right-secret")
    server.start()
    try:
        async with connected(server.url, "wrong-secret") as refused:
            with capture_logs() as lines:
                with pytest.raises(StoreUnavailable) as caught:
                    await refused.get("k")
                await asyncio.sleep(0.05)
            assert "secret" not in f"{lines} {caught.value}"
        async with connected(server.url, "right-secret", patience=20) as let_in:
            await let_in.set("k", b"1", LONG)
            assert await let_in.get("k") == b"1"
    finally:
        server.close()


async def test_a_command_that_redis_refuses_is_an_outage_for_that_one_only(
    store: RedisStore, redis_server: RedisServer
) -> None:
    redis_server.ask("LPUSH neo:list 1")
    with pytest.raises(StoreUnavailable):
        await store.get("list")
    await until_used_again(store)


def test_an_address_that_is_none_of_redis_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisConnection("http://127.0.0.1")
