"""What every key-value store does, in process or in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from servicekit.key_value.embedded import EmbeddedStore
from servicekit.key_value.port import KeyValueStore
from servicekit.key_value.redis_connection import RedisConnection
from servicekit.key_value.redis_store import RedisStore

LONG = 1000.0
BRIEF = 0.05
ANY_BYTES = bytes(range(256))

Pass = Callable[[float], Awaitable[None]]
"""Lets so many seconds pass for the store."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def redis_store(url: str) -> AsyncIterator[RedisStore]:
    # A busy machine may make any operation slow; how slow is tested elsewhere.
    connection = RedisConnection(url, timeout=20)
    store = RedisStore(connection, prefix="neo:")
    yield store
    await store.close()
    await connection.close()


@pytest.fixture(params=["embedded", "redis"])
async def store_and_time(request: pytest.FixtureRequest) -> AsyncIterator[tuple[KeyValueStore, Pass]]:
    if request.param == "embedded":
        clock = Clock()

        async def advance(seconds: float) -> None:
            clock.now += seconds

        yield EmbeddedStore(1_000_000, clock), advance
    else:
        async with redis_store(request.getfixturevalue("redis_url")) as redis:
            yield redis, asyncio.sleep


@pytest.fixture
def store(store_and_time: tuple[KeyValueStore, Pass]) -> KeyValueStore:
    return store_and_time[0]


@pytest.fixture
def let_pass(store_and_time: tuple[KeyValueStore, Pass]) -> Pass:
    return store_and_time[1]


async def test_a_value_comes_back_byte_for_byte(store: KeyValueStore) -> None:
    for value in (b"", ANY_BYTES, b"x" * 100_000):
        await store.set("é key", value, LONG)
        assert await store.get("é key") == value


async def test_what_was_never_set_is_not_there(store: KeyValueStore) -> None:
    assert await store.get("k") is None
    assert not await store.delete("k")
    assert await store.index_list("i", 10) == []
    await store.index_remove("i", "m")


async def test_the_last_value_set_counts(store: KeyValueStore) -> None:
    await store.set("k", b"1", LONG)
    await store.set("k", b"2", LONG)
    assert await store.get("k") == b"2"


async def test_deleted_is_gone(store: KeyValueStore) -> None:
    await store.set("k", b"1", LONG)
    assert await store.delete("k")
    assert await store.get("k") is None


async def test_a_value_is_gone_when_its_time_is_over(store: KeyValueStore, let_pass: Pass) -> None:
    await store.set("brief", b"1", BRIEF)
    await store.set("long", b"2", LONG)
    await let_pass(BRIEF * 2)
    assert await store.get("brief") is None
    assert await store.get("long") == b"2"
    assert not await store.delete("brief")


async def test_setting_anew_begins_a_new_time(store: KeyValueStore, let_pass: Pass) -> None:
    await store.set("k", b"1", BRIEF)
    await store.set("k", b"2", LONG)
    await let_pass(BRIEF * 2)
    assert await store.get("k") == b"2"


async def test_swap_changes_what_is_as_expected_and_nothing_else(store: KeyValueStore) -> None:
    assert await store.swap("k", None, ANY_BYTES, LONG)
    assert not await store.swap("k", None, b"2", LONG)
    assert not await store.swap("k", b"other", b"2", LONG)
    assert await store.get("k") == ANY_BYTES
    assert await store.swap("k", ANY_BYTES, b"3", LONG)
    assert await store.get("k") == b"3"


async def test_swap_can_delete_and_empty_is_not_nothing(store: KeyValueStore) -> None:
    assert await store.swap("k", None, b"", LONG)
    assert not await store.swap("k", None, b"1", LONG)
    assert not await store.swap("k", b"1", None, LONG)
    assert await store.swap("k", b"", None, LONG)
    assert await store.get("k") is None
    assert await store.swap("k", None, None, LONG)


async def test_what_is_over_counts_as_nothing_for_swap(store: KeyValueStore, let_pass: Pass) -> None:
    assert await store.swap("k", None, b"1", BRIEF)
    await let_pass(BRIEF * 2)
    assert not await store.swap("k", b"1", b"2", LONG)
    assert await store.swap("k", None, b"3", LONG)


async def test_of_many_who_swap_at_once_one_succeeds(store: KeyValueStore) -> None:
    results = await asyncio.gather(*(store.swap("k", None, b"%d" % n, LONG) for n in range(50)))
    assert sum(results) == 1
    assert await store.get("k") == b"%d" % results.index(True)


async def test_an_index_lists_its_own_members_those_that_stay_longest_first(store: KeyValueStore) -> None:
    for number, member in enumerate(["é", "b", "c"]):
        await store.index_put("i", member, ANY_BYTES[number:], LONG + number)
    await store.index_put("other", "d", b"", LONG)
    assert await store.index_list("i", 10) == [("c", ANY_BYTES[2:]), ("b", ANY_BYTES[1:]), ("é", ANY_BYTES)]
    assert [member for member, _ in await store.index_list("i", 2)] == ["c", "b"]


async def test_a_member_put_again_has_a_new_value_and_place(store: KeyValueStore) -> None:
    await store.index_put("i", "a", b"1", LONG)
    await store.index_put("i", "b", b"2", LONG + 1)
    await store.index_put("i", "a", b"3", LONG + 2)
    assert await store.index_list("i", 10) == [("a", b"3"), ("b", b"2")]


async def test_a_member_leaves_when_it_is_removed_or_its_time_is_over(
    store: KeyValueStore, let_pass: Pass
) -> None:
    await store.index_put("i", "stays", b"", LONG)
    await store.index_put("i", "removed", b"", LONG)
    await store.index_put("i", "brief", b"", BRIEF)
    await store.index_remove("i", "removed")
    await let_pass(BRIEF * 2)
    assert await store.index_list("i", 10) == [("stays", b"")]


async def test_keys_and_indexes_may_have_the_same_names(store: KeyValueStore) -> None:
    await store.set("x", b"value", LONG)
    await store.index_put("x", "x", b"member", LONG)
    await store.delete("x")
    assert await store.index_list("x", 10) == [("x", b"member")]


async def test_a_store_says_how_fast_it_answers(store: KeyValueStore) -> None:
    assert 0 <= await store.ping() < 60


async def test_an_operation_given_up_on_leaves_the_others_their_own_answers(store: KeyValueStore) -> None:
    """A client that reads the answer to somebody else's command hands one user's text to another."""
    keys = [f"k{number}" for number in range(200)]
    for key in keys:
        await store.set(key, key.encode(), LONG)

    async def read(key: str, *, patience: float) -> bytes | None:
        try:
            async with asyncio.timeout(patience):
                return await store.get(key)
        except TimeoutError:
            return key.encode()

    for patience in (0, 0.0005, 0.002, LONG):
        values = await asyncio.gather(*(read(key, patience=patience) for key in keys))
        assert values == [key.encode() for key in keys]


async def test_redis_forgets_an_index_by_itself(redis_url: str) -> None:
    """Nobody may ever list it again."""
    async with redis_store(redis_url) as store:
        await store.index_put("i", "m", b"", BRIEF)
        await store.index_put("i", "n", b"", BRIEF)
        await store.set("k", b"", BRIEF)
        await asyncio.sleep(BRIEF * 4)
    client: Any = Redis.from_url(redis_url)
    assert client.keys() == []
    client.close()


async def test_every_key_in_redis_begins_with_the_prefix(redis_url: str) -> None:
    async with redis_store(redis_url) as store:
        await store.set("k", b"", LONG)
        await store.swap("s", None, b"", LONG)
        await store.index_put("i", "m", b"", LONG)
    client: Any = Redis.from_url(redis_url)
    keys = client.keys()
    assert len(keys) == len(client.keys("neo:*")) == 4
    assert all(client.pttl(key) > 0 for key in keys)
    client.close()
