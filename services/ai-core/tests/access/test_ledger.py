"""One contract for both ledgers; what they decide is the same to the millisecond."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_core.access.limits.ledger import LEASE_SECONDS, WINDOW_SECONDS, Demand, Kind, Lease, Ledger
from ai_core.access.limits.memory_ledger import MemoryLedger
from ai_core.access.limits.redis_ledger import RedisLedger
from ai_core.storage.redis_connection import RedisConnection
from servers import RedisServer

PATIENT = 20.0
"""Seconds: what is tested here is what is decided, not how fast."""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(url, timeout=PATIENT)
    try:
        yield connection
    finally:
        await connection.close()


@dataclass
class Bench:
    """A ledger, and a clock that the test moves."""

    ledger: Ledger
    clock: list[float]
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def wait(self, seconds: float) -> None:
        self.clock[0] += seconds

    async def hit(self, limit: int, key: str = "key") -> tuple[int, float, float]:
        """(remaining, reset after, retry after)."""
        allowance = await self.ledger.hit(key, f"hit-{next(self.ids)}", limit)
        assert allowance.limit == limit
        return allowance.remaining, round(allowance.reset_after, 3), round(allowance.retry_after, 3)

    def lease(self, tokens: int, key: str = "key") -> Lease:
        return Lease(key, f"lease-{next(self.ids)}", tokens)

    async def reserve(self, lease: Lease, **limits: int) -> Kind | None:
        decision = await self.ledger.reserve(lease, Demand(tokens=lease.tokens, **limits))
        return decision.refused


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    clock = [1_700_000_000.0]
    if request.param == "memory":
        yield Bench(MemoryLedger(lambda: clock[0]), clock)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    async with connected(server.url) as connection:
        ledger = RedisLedger(connection, lambda: clock[0])
        yield Bench(ledger, clock)
        await ledger.close()


class TestRequestsPerMinute:
    async def test_as_many_as_the_limit_then_none_until_the_first_is_a_minute_old(self, bench: Bench) -> None:
        assert [await bench.hit(3) for _ in range(2)] == [(2, 60, 0), (1, 60, 0)]
        bench.wait(20)
        assert await bench.hit(3) == (0, 40, 0)
        assert await bench.hit(3) == (0, 40, 40)
        bench.wait(39.9)
        assert await bench.hit(3) == (0, 0.1, 0.1)
        bench.wait(0.1)
        assert await bench.hit(3) == (1, 20, 0)

    async def test_what_was_refused_does_not_count(self, bench: Bench) -> None:
        for _ in range(10):
            await bench.hit(1)
        bench.wait(WINDOW_SECONDS)
        assert await bench.hit(1) == (0, 60, 0)

    async def test_keys_do_not_concern_each_other(self, bench: Bench) -> None:
        assert await bench.hit(1, "one") == (0, 60, 0)
        assert await bench.hit(1, "other") == (0, 60, 0)

    async def test_a_limit_that_was_lowered_says_when_enough_have_left(self, bench: Bench) -> None:
        for _ in range(3):
            await bench.hit(5)
            bench.wait(10)
        assert await bench.hit(1) == (0, 30, 50)


class TestTokensPerMinute:
    async def test_what_is_reserved_counts_and_what_was_not_needed_is_given_back(self, bench: Bench) -> None:
        first = bench.lease(600)
        assert await bench.reserve(first, tokens_per_minute=1000) is None
        assert await bench.reserve(bench.lease(500), tokens_per_minute=1000) is Kind.TOKENS_PER_MINUTE
        await bench.ledger.settle(first, 100)
        assert await bench.reserve(bench.lease(900), tokens_per_minute=1000) is None
        assert await bench.reserve(bench.lease(1), tokens_per_minute=1000) is Kind.TOKENS_PER_MINUTE

    async def test_more_than_was_reserved_counts_too(self, bench: Bench) -> None:
        first = bench.lease(100)
        await bench.reserve(first, tokens_per_minute=1000)
        await bench.ledger.settle(first, 1000)
        assert await bench.reserve(bench.lease(1), tokens_per_minute=1000) is Kind.TOKENS_PER_MINUTE

    async def test_the_answer_says_how_the_minute_stands_and_when_there_is_room(self, bench: Bench) -> None:
        for tokens in (100, 300):
            assert await bench.reserve(bench.lease(tokens), tokens_per_minute=1000) is None
            bench.wait(10)
        decision = await bench.ledger.reserve(bench.lease(200), Demand(tokens=200, tokens_per_minute=1000))
        assert decision.tokens is not None
        assert (decision.tokens.limit, decision.tokens.remaining) == (1000, 400)
        assert decision.tokens.reset_after == pytest.approx(40)
        bench.wait(10)
        decision = await bench.ledger.reserve(bench.lease(601), Demand(tokens=601, tokens_per_minute=1000))
        assert decision.refused is Kind.TOKENS_PER_MINUTE
        assert decision.tokens is not None
        assert decision.tokens.remaining == 400
        # The first 100 leave after 30 s and are not enough; the 300 after them leave 10 s later.
        assert decision.tokens.retry_after == pytest.approx(40)

    async def test_when_there_is_room_is_found_among_many_reservations(self, bench: Bench) -> None:
        for _ in range(250):
            assert await bench.reserve(bench.lease(1), tokens_per_minute=250) is None
            bench.wait(0.1)
        decision = await bench.ledger.reserve(bench.lease(120), Demand(tokens=120, tokens_per_minute=250))
        assert decision.tokens is not None
        assert decision.tokens.retry_after == pytest.approx(60 - 25 + 11.9)

    async def test_settling_after_the_minute_changes_nothing(self, bench: Bench) -> None:
        first = bench.lease(1000)
        await bench.reserve(first, tokens_per_minute=1000)
        bench.wait(WINDOW_SECONDS)
        assert await bench.reserve(bench.lease(1000), tokens_per_minute=1000) is None
        await bench.ledger.settle(first, 10)
        assert await bench.reserve(bench.lease(1), tokens_per_minute=1000) is Kind.TOKENS_PER_MINUTE


class TestRequestsAtOnce:
    async def test_places_are_taken_and_given_back(self, bench: Bench) -> None:
        first = bench.lease(1)
        assert await bench.reserve(first, concurrent_requests=2) is None
        assert await bench.reserve(bench.lease(1), concurrent_requests=2) is None
        assert await bench.reserve(bench.lease(1), concurrent_requests=2) is Kind.CONCURRENT_REQUESTS
        await bench.ledger.settle(first, 1)
        assert await bench.reserve(bench.lease(1), concurrent_requests=2) is None
        assert await bench.reserve(bench.lease(1), concurrent_requests=2) is Kind.CONCURRENT_REQUESTS

    async def test_giving_back_twice_frees_one_place(self, bench: Bench) -> None:
        leases = [bench.lease(10) for _ in range(2)]
        for lease in leases:
            await bench.reserve(lease, concurrent_requests=2, tokens_per_minute=20, tokens_per_day=100)
        for _ in range(2):
            await bench.ledger.settle(leases[0], 10)
        assert await bench.reserve(bench.lease(1), concurrent_requests=1) is Kind.CONCURRENT_REQUESTS

    async def test_a_place_that_is_renewed_is_kept_for_as_long_as_it_takes(self, bench: Bench) -> None:
        lease = bench.lease(1)
        await bench.reserve(lease, concurrent_requests=1)
        for _ in range(10):
            bench.wait(LEASE_SECONDS * 0.9)
            await bench.ledger.renew([lease])
            assert await bench.reserve(bench.lease(1), concurrent_requests=1) is Kind.CONCURRENT_REQUESTS

    async def test_a_process_that_died_does_not_hold_its_places_for_ever(self, bench: Bench) -> None:
        await bench.reserve(bench.lease(90), concurrent_requests=1, tokens_per_day=100)
        bench.wait(LEASE_SECONDS)
        assert await bench.reserve(bench.lease(90), concurrent_requests=1, tokens_per_day=100) is None

    async def test_what_was_forgotten_is_known_again_when_it_is_renewed(self, bench: Bench) -> None:
        lease = bench.lease(90)
        await bench.ledger.renew([lease])
        assert await bench.reserve(bench.lease(1), concurrent_requests=1) is Kind.CONCURRENT_REQUESTS
        assert await bench.reserve(bench.lease(20), tokens_per_day=100) is Kind.TOKENS_PER_DAY


class TestTokensPerDay:
    async def test_what_was_used_and_what_is_reserved_count_together(self, bench: Bench) -> None:
        first = bench.lease(30)
        assert await bench.reserve(first, tokens_per_day=100, used_today=50) is None
        assert await bench.reserve(bench.lease(21), tokens_per_day=100, used_today=50) is Kind.TOKENS_PER_DAY
        assert await bench.reserve(bench.lease(20), tokens_per_day=100, used_today=50) is None
        await bench.ledger.settle(first, 5)
        assert await bench.reserve(bench.lease(26), tokens_per_day=100, used_today=55) is Kind.TOKENS_PER_DAY
        assert await bench.reserve(bench.lease(25), tokens_per_day=100, used_today=55) is None


async def test_what_is_refused_for_one_limit_takes_nothing_of_the_others(bench: Bench) -> None:
    limits = {"concurrent_requests": 1, "tokens_per_minute": 100, "tokens_per_day": 1000}
    first = bench.lease(60)
    assert await bench.reserve(first, **limits) is None
    assert await bench.reserve(bench.lease(30), **limits) is Kind.CONCURRENT_REQUESTS
    await bench.ledger.settle(first, 60)
    assert await bench.reserve(bench.lease(41), **limits) is Kind.TOKENS_PER_MINUTE
    assert await bench.reserve(bench.lease(40), **limits, used_today=960) is None


@dataclass
class Use:
    """One step of a client."""

    wait: float
    what: str
    number: int


USES = st.lists(
    st.builds(
        Use,
        wait=st.sampled_from([0.0, 0.0, 0.001, 1.0, 12.5, 29.999, 30.0, 59.999, 60.0]),
        what=st.sampled_from(["hit", "reserve", "reserve", "settle", "renew"]),
        number=st.integers(0, 60),
    ),
    max_size=40,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uses=USES)
async def test_both_decide_alike_and_grant_no_more_than_the_limit(
    redis_server: RedisServer, uses: list[Use]
) -> None:
    redis_server.empty()
    clock = [1_700_000_000.0]
    async with connected(redis_server.url) as connection:
        ledgers: list[Ledger] = [MemoryLedger(lambda: clock[0]), RedisLedger(connection, lambda: clock[0])]
        granted = await play(uses, clock, ledgers)
    for at in granted:
        assert sum(at - WINDOW_SECONDS < other <= at for other in granted) <= 5


async def play(uses: list[Use], clock: list[float], ledgers: Sequence[Ledger]) -> list[float]:
    """When requests were granted."""
    leases: list[Lease] = []
    granted: list[float] = []
    for step, use in enumerate(uses):
        clock[0] += use.wait
        if use.what == "hit":
            one, two = [await ledger.hit("key", f"hit-{step}", 5) for ledger in ledgers]
            assert one.reset_after == pytest.approx(two.reset_after, abs=1e-3)
            assert one.retry_after == pytest.approx(two.retry_after, abs=1e-3)
            assert (one.remaining, one.granted) == (two.remaining, two.granted)
            granted += [clock[0]] * one.granted
        elif use.what == "reserve":
            leases.append(Lease("key", f"lease-{step}", use.number))
            demand = Demand(
                tokens=use.number,
                tokens_per_minute=100,
                tokens_per_day=150,
                used_today=use.number // 2,
                concurrent_requests=3,
            )
            decisions = [await ledger.reserve(leases[-1], demand) for ledger in ledgers]
            assert decisions[0].refused == decisions[1].refused
            first, second = (decision.tokens for decision in decisions)
            assert first is not None
            assert second is not None
            assert first.remaining == second.remaining
            assert first.reset_after == pytest.approx(second.reset_after, abs=1e-3)
            assert first.retry_after == pytest.approx(second.retry_after, abs=1e-3)
        elif leases:
            lease = leases[use.number % len(leases)]
            for ledger in ledgers:
                await (ledger.settle(lease, use.number) if use.what == "settle" else ledger.renew([lease]))
    return granted


async def test_redis_keeps_nothing_longer_than_it_counts(redis_server: RedisServer, redis_url: str) -> None:
    lease = Lease("key", "lease", 5)
    async with connected(redis_url) as connection:
        ledger = RedisLedger(connection)
        await ledger.hit("key", "hit", 5)
        await ledger.reserve(lease, Demand(tokens=5, tokens_per_minute=10, concurrent_requests=1))
        keys = await connection.client.keys("*")
        assert len(keys) == 5
        for key in keys:
            assert key.startswith(b"neo:limits:{key}:")
            assert 0 < await connection.client.pttl(key) <= WINDOW_SECONDS * 1000


async def test_memory_forgets_keys_that_are_not_used_any_more() -> None:
    clock = [0.0]
    ledger = MemoryLedger(lambda: clock[0])
    for number in range(1000):
        await ledger.hit(f"key-{number}", "hit", 5)
    clock[0] += 3 * WINDOW_SECONDS
    await ledger.hit("key", "hit", 5)
    assert len(ledger) == 1
