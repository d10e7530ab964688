"""Buckets and sums: the same in process and in Redis, and never more than they allow."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers import RedisServer
from servicekit.key_value.embedded_limits import TIDY_ABOVE, EmbeddedLimits
from servicekit.key_value.enduring_limits import EnduringLimits
from servicekit.key_value.failures import StoreUnavailable
from servicekit.key_value.limits import ASK_ONLY, ONCE_SECONDS, Bucket, Limits
from servicekit.key_value.redis_connection import RedisConnection
from servicekit.key_value.redis_limits import RedisLimits

PATIENT = 20.0
TICK = 1e-6
"""Seconds: what both count in."""
CHAT = Bucket("chat", per_second=0.5, burst=3)
ALL = Bucket("all", per_second=4, burst=5)
SLOW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """Limits, and the clock that they go by."""

    limits: Limits
    clock: Clock = field(default_factory=Clock)

    async def take(
        self, *buckets: Bucket, amount: float = 1.0, patience: float = 0.0, once: str = ""
    ) -> float:
        return await self.limits.take(buckets, amount, patience=patience, once=once)

    async def passes(self, bucket: Bucket, times: int) -> int:
        """How often of so many times it is let through."""
        return sum([await self.take(bucket) == 0 for _ in range(times)])


@asynccontextmanager
async def redis_limits(
    url: str, clock: Clock | None = None, prefix: str = "neo:"
) -> AsyncIterator[RedisLimits]:
    connection = RedisConnection(url, timeout=PATIENT)
    limits = RedisLimits(connection, prefix=prefix, clock=clock)
    try:
        yield limits
    finally:
        await limits.close()
        await connection.close()


@pytest.fixture(params=["embedded", "redis"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    clock = Clock()
    if request.param == "embedded":
        yield Desk(EmbeddedLimits(clock), clock)
    else:
        async with redis_limits(request.getfixturevalue("redis_url"), clock) as limits:
            yield Desk(limits, clock)


async def test_who_only_asks_takes_nothing(desk: Desk) -> None:
    assert [await desk.take(CHAT, patience=ASK_ONLY) for _ in range(9)] == [0] * 9
    assert await desk.passes(CHAT, 9) == CHAT.burst
    await desk.limits.hold(CHAT, 30.0)
    assert [await desk.take(CHAT, patience=ASK_ONLY) for _ in range(9)] == [30.0] * 9


async def test_so_many_at_once_and_then_one_after_the_other(desk: Desk) -> None:
    assert await desk.passes(CHAT, 10) == 3
    assert await desk.take(CHAT) == pytest.approx(2.0)
    desk.clock.now += 2.0
    assert await desk.passes(CHAT, 10) == 1
    desk.clock.now += 1_000.0
    assert await desk.passes(CHAT, 10) == 3


async def test_waiting_as_long_as_was_said_is_enough_and_not_too_much(desk: Desk) -> None:
    await desk.take(CHAT, amount=3)
    wait = await desk.take(CHAT, amount=2)
    desk.clock.now += wait - 10 * TICK
    assert await desk.take(CHAT, amount=2) > 0
    desk.clock.now += 20 * TICK
    assert await desk.take(CHAT, amount=2) == 0


async def test_of_several_buckets_all_give_or_none(desk: Desk) -> None:
    assert await desk.passes(CHAT, 3) == 3
    assert await desk.take(CHAT, ALL) > 0
    assert await desk.passes(ALL, 9) == 5


async def test_who_waits_takes_the_place_and_others_come_after(desk: Desk) -> None:
    assert await desk.passes(CHAT, 3) == 3
    # The third would wait too long, and takes nothing.
    waits = [await desk.take(CHAT, patience=5) for _ in range(3)]
    assert waits == pytest.approx([2.0, 4.0, 6.0])
    desk.clock.now += 2.0
    assert await desk.take(CHAT) == pytest.approx(4.0)
    desk.clock.now += 4.0 + TICK
    assert await desk.passes(CHAT, 9) == 1


async def test_the_same_question_gets_the_same_answer_and_costs_once(desk: Desk) -> None:
    assert [await desk.take(CHAT, once="update 1") for _ in range(5)] == [0.0] * 5
    assert await desk.passes(CHAT, 9) == 2
    refused = await desk.take(CHAT, once="update 2")
    assert refused > 0
    desk.clock.now += 60
    assert await desk.take(CHAT, once="update 2") == refused
    assert await desk.take(CHAT, once="update 3") == 0


async def test_a_bucket_that_is_held_gives_nothing_before_its_time(desk: Desk) -> None:
    await desk.limits.hold(CHAT, 7.0)
    assert await desk.take(CHAT) == pytest.approx(7.0)
    await desk.limits.hold(CHAT, 1.0)
    assert await desk.take(CHAT) == pytest.approx(7.0)
    desk.clock.now += 7.0 + TICK
    assert await desk.passes(CHAT, 9) == 1


async def test_what_never_fits_is_a_mistake_of_the_caller(desk: Desk) -> None:
    with pytest.raises(ValueError, match="holds"):
        await desk.take(CHAT, amount=3.5)
    for broken in ((0.0, 1.0), (1.0, 0.5), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="bucket"):
            Bucket("broken", *broken)


async def test_sums_grow_by_item_and_an_item_counts_once(desk: Desk) -> None:
    assert await desk.limits.counted("day") == 0
    assert await desk.limits.count("day", "answer 1", 100, 60) == 100
    assert await desk.limits.count("day", "answer 2", 20, 60) == 120
    assert await desk.limits.count("day", "answer 1", 70, 60) == 90
    assert await desk.limits.counted("day") == 90
    assert await desk.limits.counted("other day") == 0


async def test_what_is_forgotten_begins_anew(desk: Desk) -> None:
    await desk.passes(CHAT, 3)
    await desk.limits.count("day", "answer", 100, 60)
    await desk.limits.forget(CHAT.key, "day", "nothing")
    await desk.limits.forget()
    assert await desk.passes(CHAT, 9) == 3
    assert await desk.limits.counted("day") == 0


@SLOW
@given(steps=st.lists(st.tuples(st.floats(0, 4), st.sampled_from([0.5, 1, 2, 3])), max_size=40))
async def test_within_any_time_no_more_passes_than_the_bucket_allows(
    steps: list[tuple[float, float]],
) -> None:
    desk = Desk(EmbeddedLimits(clock := Clock()), clock)
    passed: list[tuple[float, float]] = []
    for seconds, amount in steps:
        clock.now += seconds
        if await desk.take(CHAT, amount=amount) == 0:
            passed.append((clock.now, amount))
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            elapsed = passed[last][0] - passed[first][0]
            taken = sum(amount for _, amount in passed[first : last + 1])
            assert taken <= CHAT.burst + CHAT.per_second * elapsed + 1e-4


@dataclass(frozen=True)
class Step:
    """One call of a script, after some time."""

    seconds: float
    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    async def on(self, limits: Limits) -> object:
        return await getattr(limits, self.method)(*self.arguments, **self.options)


def steps() -> st.SearchStrategy[Step]:
    seconds = st.floats(0, 10)
    bucket = st.sampled_from([CHAT, ALL, Bucket("tight", 0.1, 1)])
    buckets = bucket.map(lambda first: [first, Bucket("house", 2, 4)])
    options = st.fixed_dictionaries(
        {"patience": st.sampled_from([0.0, 3.0, 20.0]), "once": st.sampled_from(["", "", "a", "b"])}
    )
    item = st.sampled_from(["a", "b", "c"])
    take = st.builds(Step, seconds, st.just("take"), st.tuples(buckets, st.sampled_from([0.3, 1.0])), options)
    hold = st.builds(Step, seconds, st.just("hold"), st.tuples(bucket, st.floats(0, 20)))
    amount = st.integers(0, 10**6)
    count = st.builds(
        Step, seconds, st.just("count"), st.tuples(st.just("day"), item, amount, st.just(1_000))
    )
    forget = st.builds(Step, seconds, st.just("forget"), st.just(("day", CHAT.key)))
    return st.one_of(take, take, hold, count, forget)


@SLOW
@given(script=st.lists(steps(), max_size=25))
async def test_redis_and_this_process_decide_alike(redis_url: str, script: list[Step]) -> None:
    clock = Clock()
    own = EmbeddedLimits(clock)
    async with redis_limits(redis_url, clock, f"{uuid.uuid4()}:") as shared:
        for step in script:
            clock.now += step.seconds
            assert await step.on(shared) == await step.on(own)


async def test_many_at_once_from_two_processes_get_no_more_than_there_is(redis_url: str) -> None:
    async with redis_limits(redis_url) as one, redis_limits(redis_url) as other:
        rare = Bucket("rare", per_second=1e-3, burst=7)
        waits = await asyncio.gather(*(limits.take([rare]) for limits in (one, other) for _ in range(20)))
        assert sum(wait == 0 for wait in waits) == 7


async def test_redis_own_clock_fills_buckets_again(redis_url: str) -> None:
    async with redis_limits(redis_url) as limits:
        quick = Bucket("quick", per_second=20, burst=1)
        assert await limits.take([quick]) == 0
        wait = await limits.take([quick])
        assert 0 < wait <= 0.05
        await asyncio.sleep(wait)
        assert await limits.take([quick]) == 0
        await limits.count("brief", "item", 5, 0.02)
        await asyncio.sleep(0.05)
        assert await limits.counted("brief") == 0


async def test_a_redis_that_is_away_silences_nobody_opens_no_floodgate_and_is_counted(
    redis_server: RedisServer,
) -> None:
    connection = RedisConnection(redis_server.url, timeout=PATIENT)
    failures: list[None] = []
    limits = EnduringLimits(RedisLimits(connection), on_failure=lambda: failures.append(None))
    rare = Bucket("rare", per_second=1e-3, burst=4)
    assert await limits.take([rare], 4) == 0
    await asyncio.to_thread(redis_server.stop)
    waits = [await limits.take([rare]) for _ in range(9)]
    assert [wait == 0 for wait in waits] == [True] * 4 + [False] * 5
    assert await limits.count("day", "item", 3, 60) == 3
    assert await limits.counted("day") == 3
    assert len(failures) == 11
    with pytest.raises(StoreUnavailable):
        await limits.forget("day")
    assert await limits.counted("day") == 0
    await asyncio.to_thread(redis_server.start)
    async with asyncio.timeout(PATIENT):
        while connection.breaker.open:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    assert await limits.take([rare], 4) == 0
    await limits.close()
    await connection.close()


async def test_what_is_over_does_not_stay_in_memory() -> None:
    limits = EmbeddedLimits(clock := Clock())
    for number in range(20 * TIDY_ABOVE):
        clock.now += 1.0
        await limits.take([Bucket(f"chat {number}", 1, 1)], once=f"update {number}")
        await limits.count(f"day {number}", "item", 1, 10)
    assert limits.held < 4 * TIDY_ABOVE + 2 * ONCE_SECONDS
