"""Scripts that are called together: each caller gets its own answer, whatever happens on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servers import RedisServer
from servicekit.key_value.failures import StoreUnavailable
from servicekit.key_value.redis_calls import TOGETHER, RedisScripts
from servicekit.key_value.redis_connection import TIMEOUT, RedisConnection

ECHO, COUNT, FAIL = range(3)
SOURCES = [
    "return ARGV[1]",
    "return redis.call('INCR', KEYS[1])",
    "return redis.call('INCR', KEYS[1], 'and', 'more')",
]
PATIENT = 20.0


@asynccontextmanager
async def scripts_over(
    url: str, patience: float = PATIENT
) -> AsyncIterator[tuple[RedisScripts, RedisConnection]]:
    connection = RedisConnection(url, timeout=patience)
    scripts = RedisScripts(connection, SOURCES)
    yield scripts, connection
    await scripts.close()
    await connection.close()


async def test_many_at_once_get_each_their_own(redis_url: str) -> None:
    async with scripts_over(redis_url) as (scripts, _):
        numbers = range(5 * TOGETHER + 1)
        answers = await asyncio.gather(*(scripts.call(ECHO, [], [number]) for number in numbers))
    assert answers == [str(number).encode() for number in numbers]


async def test_a_redis_that_was_restarted_learns_the_scripts_and_runs_each_call_once(
    redis_server: RedisServer, redis_url: str
) -> None:
    async with scripts_over(redis_url) as (scripts, _):
        assert await scripts.call(COUNT, ["counter"], []) == 1
        redis_server.empty()
        counts = await asyncio.gather(*(scripts.call(COUNT, ["counter"], []) for _ in range(20)))
        assert sorted(counts) == list(range(1, 21))


async def test_a_caller_who_leaves_disturbs_nobody(redis_url: str) -> None:
    async with scripts_over(redis_url) as (scripts, _):
        callers = [asyncio.create_task(scripts.call(ECHO, [], [number])) for number in range(20)]
        await asyncio.sleep(0)
        for leaver in callers[::2]:
            leaver.cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert answers[1::2] == [str(number).encode() for number in range(1, 20, 2)]
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])


async def test_answers_that_come_too_late_are_nobody_elses(redis_server: RedisServer) -> None:
    async with scripts_over(redis_server.url, TIMEOUT) as (scripts, connection):
        assert await scripts.call(ECHO, [], ["before"]) == b"before"
        redis_server.pause()
        late = await asyncio.gather(
            *(scripts.call(ECHO, [], [f"late {number}"]) for number in range(3)), return_exceptions=True
        )
        assert [type(answer) for answer in late] == [StoreUnavailable] * 3
        redis_server.resume()
        async with asyncio.timeout(5):
            while connection.breaker.open:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        for number in range(10):
            assert await scripts.call(ECHO, [], [number]) == str(number).encode()


async def test_a_busy_machine_is_not_taken_for_a_redis_that_is_away(redis_url: str) -> None:
    async with scripts_over(redis_url, TIMEOUT) as (scripts, connection):
        await scripts.call(ECHO, [], ["connected"])
        calling = asyncio.create_task(scripts.call(ECHO, [], ["hello"]))
        # Until it is on its way.
        for _ in range(5):
            await asyncio.sleep(0)
        time.sleep(3 * TIMEOUT)  # noqa: ASYNC251 - this is the point
        assert await calling == b"hello"
        assert not connection.breaker.open


async def test_a_call_that_fails_alone_fails_alone(redis_url: str) -> None:
    async with scripts_over(redis_url) as (scripts, _):
        answers = await asyncio.gather(
            scripts.call(ECHO, [], ["one"]),
            scripts.call(FAIL, ["key"], []),
            scripts.call(ECHO, [], ["two"]),
            return_exceptions=True,
        )
    assert [answers[0], answers[2]] == [b"one", b"two"]
    assert isinstance(answers[1], StoreUnavailable)


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_closing_leaves_nobody_waiting(redis_server: RedisServer, turns: int) -> None:
    async with scripts_over(redis_server.url) as (scripts, _):
        redis_server.pause()
        waiting = [asyncio.create_task(scripts.call(ECHO, [], [number])) for number in range(30)]
        for _ in range(1 + turns):
            await asyncio.sleep(0)
    for one in waiting:
        with pytest.raises(asyncio.CancelledError):
            await one
