"""What a service may lose: with and without Redis."""

from __future__ import annotations

import asyncio

import pytest

from servers import RedisServer
from servicekit.hot_state import open_hot_state
from servicekit.key_value.failures import StoreUnavailable
from servicekit.key_value.limits import Bucket

RARE = Bucket("rare", per_second=1e-3, burst=1)
PATIENT = 20.0
NOWHERE = "redis://127.0.0.1:9/0"


class Counter:
    counted = 0

    def count(self) -> None:
        self.counted += 1


def ignore() -> None:
    """Whoever asks is told by other means."""


async def test_without_redis_everything_is_in_the_process() -> None:
    async with open_hot_state(None, prefix="neo:", on_failure=ignore) as hot:
        await hot.store.set("k", b"v", 60)
        assert await hot.store.get("k") == b"v"
        assert await hot.limits.take([RARE]) == 0
        assert await hot.limits.take([RARE]) > 0
        bell = hot.wakeups.listen()
        hot.wakeups.ring()
        await asyncio.wait_for(bell.wait(60), 30)
        assert hot.ping is None


async def test_with_redis_processes_share_it_and_services_do_not(redis_server: RedisServer) -> None:
    url = redis_server.url
    async with (
        open_hot_state(url, prefix="neo:bot:", on_failure=ignore, redis_seconds=PATIENT) as one,
        open_hot_state(url, prefix="neo:bot:", on_failure=ignore, redis_seconds=PATIENT) as other,
        open_hot_state(url, prefix="neo:mail:", on_failure=ignore, redis_seconds=PATIENT) as mail,
    ):
        await one.store.set("k", b"v", 60)
        assert await other.store.get("k") == b"v"
        assert await mail.store.get("k") is None
        assert await one.limits.take([RARE]) == 0
        assert await other.limits.take([RARE]) > 0
        assert await mail.limits.take([RARE]) == 0
        assert one.ping is not None
        assert await one.ping() > 0


async def test_a_redis_that_is_away_from_the_start_stops_nobody() -> None:
    counter = Counter()
    async with open_hot_state(NOWHERE, prefix="", on_failure=counter.count) as hot:
        with pytest.raises(StoreUnavailable):
            await hot.store.get("k")
        assert await hot.limits.take([RARE]) == 0
        assert await hot.limits.take([RARE]) > 0
        assert counter.counted == 2
        bell = hot.wakeups.listen()
        hot.wakeups.ring()
        await asyncio.wait_for(bell.wait(60), 30)


async def test_a_password_of_its_own_opens_a_redis_that_asks_for_one() -> None:
    server = RedisServer("a password")
    try:
        await asyncio.to_thread(server.start)
        for password, failing in (("a password", 0), ("another", 1)):
            counter = Counter()
            async with open_hot_state(
                server.url, password, prefix="", on_failure=counter.count, redis_seconds=PATIENT
            ) as hot:
                await hot.limits.take([RARE])
            assert counter.counted == failing
    finally:
        await asyncio.to_thread(server.close)
