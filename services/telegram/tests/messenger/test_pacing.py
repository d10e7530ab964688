"""Calls that are made in turn are never refused, whichever instance makes them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.emulators.telegram.flood import FloodControl

from servicekit.key_value.embedded_limits import EmbeddedLimits
from servicekit.key_value.redis_connection import RedisConnection
from servicekit.key_value.redis_limits import RedisLimits
from telegram_service.messenger.pacing import Pacer

PATIENCE = 5.0
START = 1_000.0
CALL_SECONDS = 0.05


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass(order=True)
class Worker:
    """Sends one call after the other in a chat."""

    at: float
    number: int
    chat_id: int
    calls: int
    pacer: Pacer
    phase: int = 0

    async def step(self) -> bool:
        """Whether a call is made just now."""
        if self.phase == 2:
            self.phase, self.calls = 0, self.calls - 1
            return True
        ask = self.pacer.overall(PATIENCE) if self.phase else self.pacer.in_chat(self.chat_id, PATIENCE)
        wait = await ask
        self.phase = self.phase + 1 if wait <= PATIENCE else 0
        self.at += wait
        return False


async def work(workers: Sequence[Worker], clock: Clock) -> float:
    """Let them all work; seconds until the last call. Fails where one is refused."""
    control = FloodControl()
    waiting = list(workers)
    heapq.heapify(waiting)
    while waiting:
        worker = heapq.heappop(waiting)
        clock.now = worker.at
        if await worker.step():
            control.admit(worker.chat_id, clock.now)
            worker.at += CALL_SECONDS
        if worker.calls:
            heapq.heappush(waiting, worker)
    return clock.now - START


@given(
    st.lists(st.tuples(st.sampled_from([42, 43, 44, -7]), st.integers(1, 12), st.floats(0, 20)), max_size=30)
)
async def test_whoever_waits_for_turns_is_never_refused(plan: list[tuple[int, int, float]]) -> None:
    clock = Clock()
    pacer = Pacer(EmbeddedLimits(clock))
    # A chat has at most two workers at once: for its answers, and for what goes past them.
    kept = [one for at, one in enumerate(plan) if sum(other[0] == one[0] for other in plan[:at]) < 2]
    await work(
        [
            Worker(START + begin, number, chat, calls, pacer)
            for number, (chat, calls, begin) in enumerate(kept)
        ],
        clock,
    )


async def test_many_chats_at_once_get_nearly_all_that_telegram_allows() -> None:
    clock = Clock()
    pacer = Pacer(EmbeddedLimits(clock))
    seconds = await work([Worker(START, chat, chat, 2, pacer) for chat in range(1, 301)], clock)
    assert 600 / seconds >= 0.9 * 30


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.integers(2, 4))
async def test_two_instances_keep_to_the_limits_together(redis_url: str, calls: int) -> None:
    clock = Clock()
    clock.now += calls * 10_000
    connections = [RedisConnection(redis_url, timeout=20) for _ in range(2)]
    shared = [RedisLimits(connection, clock=clock) for connection in connections]
    pacers = [Pacer(limits) for limits in shared]
    try:
        await work(
            [Worker(clock.now, chat, chat % 40 + 1, calls, pacers[chat % 2]) for chat in range(60)], clock
        )
    finally:
        for limits, connection in zip(shared, connections, strict=True):
            await limits.close()
            await connection.close()


@given(st.lists(st.floats(0, 3), max_size=60))
async def test_what_is_shown_at_leisure_is_never_refused(gaps: list[float]) -> None:
    control, clock = FloodControl(), Clock()
    pacer = Pacer(EmbeddedLimits(clock))
    for gap in gaps:
        clock.now += gap
        wait = await pacer.at_leisure(42)
        if wait is not None:
            clock.now += wait
            control.admit(42, clock.now)


async def test_what_is_shown_at_leisure_leaves_room_for_what_has_to_be_said() -> None:
    pacer = Pacer(EmbeddedLimits(Clock()))
    assert await pacer.at_leisure(42) == 0
    assert await pacer.at_leisure(42) is None
    assert await pacer.in_chat(42, PATIENCE) == 0


async def test_where_others_wait_nothing_is_shown_at_leisure() -> None:
    pacer = Pacer(EmbeddedLimits(Clock()))
    waits = [await pacer.at_leisure(chat) for chat in range(1, 21)]
    shown = [wait for wait in waits if wait is not None]
    assert shown == sorted(shown)
    assert 5 <= len(shown) < 10
    assert waits[len(shown) :] == [None] * (20 - len(shown))


async def test_a_chat_that_asked_for_silence_gets_it_and_others_do_not_wait() -> None:
    pacer = Pacer(EmbeddedLimits(clock := Clock()))
    await pacer.silence(42, 30)
    assert await pacer.in_chat(42, PATIENCE) >= 29.9
    assert await pacer.in_chat(43, PATIENCE) == 0
    clock.now += 20
    assert await pacer.at_leisure(42) is None
    clock.now += 11
    assert await pacer.in_chat(42, PATIENCE) == 0
