"""Wake-ups between processes: heard when Redis is there, missed by nobody's work when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from servers import RedisServer
from servicekit.journal.redis_wakeups import RedisWakeups
from servicekit.journal.wakeups import Bell
from servicekit.key_value.redis_connection import RedisConnection

PATIENCE = 30.0
NOT_SO_LONG = 0.3


@asynccontextmanager
async def process(url: str, channel: str = "journal") -> AsyncIterator[RedisWakeups]:
    connection = RedisConnection(url, timeout=20)
    try:
        async with RedisWakeups(connection, channel=channel) as wakeups:
            yield wakeups
    finally:
        await connection.close()


async def hears(bell: Bell, seconds: float = PATIENCE) -> bool:
    waiting = asyncio.create_task(bell.wait(10 * PATIENCE))
    done, _ = await asyncio.wait({waiting}, timeout=seconds)
    waiting.cancel()
    return bool(done)


async def until_connected(ringing: RedisWakeups, listening: RedisWakeups) -> None:
    """A hint may be missed, so it is given until it is heard."""
    async with asyncio.timeout(PATIENCE):
        bell = listening.listen()
        # The bell that says that listening has begun is not the one that is meant.
        await bell.wait(1.0)
        bell = listening.listen()
        while not await hears(bell, 0.05):
            ringing.ring()


async def test_one_process_wakes_the_other_and_itself(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as other:
        await until_connected(one, other)
        mine, theirs = one.listen(), other.listen()
        one.ring()
        assert await hears(mine)
        assert await hears(theirs)


async def test_its_own_echo_wakes_nobody_twice(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as other:
        await until_connected(one, other)
        one.ring()
        later, theirs = one.listen(), other.listen()
        assert await hears(theirs)
        assert not await hears(later, NOT_SO_LONG)


async def test_journals_do_not_wake_each_other(redis_url: str) -> None:
    async with process(redis_url, "a") as one, process(redis_url, "a") as other, process(redis_url, "b") as b:
        await until_connected(one, other)
        await b.listen().wait(1.0)
        bell = b.listen()
        one.ring()
        assert not await hears(bell, NOT_SO_LONG)


async def test_a_redis_that_restarts_is_listened_to_again(redis_server: RedisServer) -> None:
    async with process(redis_server.url) as one, process(redis_server.url) as other:
        await until_connected(one, other)
        await asyncio.to_thread(redis_server.stop)
        mine = one.listen()
        one.ring()
        assert await hears(mine)
        await asyncio.to_thread(redis_server.start)
        # Whatever rang meanwhile is made up for by one ring.
        await until_connected(one, other)
        await until_connected(other, one)
