"""What a key may use, with the ledger in process and in a Redis that comes and goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ai_core.access.caller import Caller, KeyLimits, Scope
from ai_core.access.limits.ledger import Kind, Ledger
from ai_core.access.limits.limiter import Limiter, Reservation
from ai_core.access.limits.memory_ledger import MemoryLedger
from ai_core.access.limits.metrics import LimitMetrics
from ai_core.access.limits.redis_ledger import RedisLedger
from ai_core.access.limits.refusal import RateLimited
from ai_core.errors import InvalidRequest, StorageUnavailable
from ai_core.storage.redis_connection import RedisConnection
from servers import RedisServer
from servicekit.key_value.redis_connection import TIMEOUT


@dataclass
class Books:
    """What the database knows; ``down``: nothing."""

    used: dict[tuple[str, date], int] = field(default_factory=dict)
    down: bool = False

    async def tokens_of_day(self, key_id: str, day: date) -> int:
        if self.down:
            raise StorageUnavailable("down")
        return self.used.get((key_id, day), 0)


@dataclass
class Bench:
    """One process' limiter."""

    limiter: Limiter
    registry: CollectorRegistry
    books: Books

    def reserve(self, who: Caller, tokens: int) -> AbstractAsyncContextManager[Reservation]:
        return self.limiter.reserve(who.key_id, who.limits, tokens)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def bench_over(
    ledger: Ledger,
    books: Books | None = None,
    *,
    renew_every: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> Bench:
    registry, books = CollectorRegistry(), books or Books()
    moment = datetime(2026, 7, 14, 23, 59, 30, tzinfo=UTC)
    limiter = Limiter(
        ledger, books, LimitMetrics(registry), clock=clock, now=lambda: moment, renew_every=renew_every
    )
    return Bench(limiter, registry, books)


def caller(name: str = "one", **limits: int) -> Caller:
    return Caller(name, name, frozenset({Scope.GENERATE}), KeyLimits(**limits))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = bench_over(MemoryLedger())
    yield bench
    await bench.limiter.close()


@asynccontextmanager
async def replica(url: str, books: Books | None = None, renew_every: float = 10.0) -> AsyncIterator[Bench]:
    """One of several processes that share a Redis."""
    async with AsyncExitStack() as stack:
        connection = RedisConnection(url)
        stack.push_async_callback(connection.close)
        ledger = RedisLedger(connection)
        stack.push_async_callback(ledger.close)
        bench = bench_over(ledger, books, renew_every=renew_every)
        stack.push_async_callback(bench.limiter.close)
        yield bench


async def granted(bench: Bench, who: Caller, requests: int) -> int:
    """How many of so many requests at once pass."""
    outcomes = await asyncio.gather(
        *(bench.limiter.admit(who) for _ in range(requests)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(error, RateLimited) for error in refused)
    return requests - len(refused)


class TestRequestsPerMinute:
    async def test_the_first_too_many_is_told_when_to_come_back(self, bench: Bench) -> None:
        who = caller(requests_per_minute=3)
        for remaining in (2, 1, 0):
            allowance = await bench.limiter.admit(who)
            assert allowance is not None
            assert allowance.remaining == remaining
        with pytest.raises(
            RateLimited, match=r"may send 3 requests a minute\. Try again in \d+ s\."
        ) as caught:
            await bench.limiter.admit(who)
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60
        assert caught.value.requests is not None
        assert bench.metric("neo_limits_hit_total", kind="requests_per_minute") == 1

    async def test_a_key_without_a_limit_is_not_counted(self, bench: Bench) -> None:
        assert [await bench.limiter.admit(caller()) for _ in range(200)] == [None] * 200


class TestTokens:
    async def test_what_was_not_used_is_there_for_the_next(self, bench: Bench) -> None:
        who = caller(tokens_per_minute=1000)
        for _ in range(5):
            async with bench.reserve(who, 600) as reservation:
                assert reservation.tokens is not None
                reservation.used = 100
        with pytest.raises(RateLimited, match="500 are left, and this request may need 600") as caught:
            async with bench.reserve(who, 600):
                pass
        assert caught.value.kind is Kind.TOKENS_PER_MINUTE
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60

    @pytest.mark.parametrize("how", ["failure", "cancellation"])
    async def test_an_answer_that_breaks_off_costs_what_it_took(self, bench: Bench, how: str) -> None:
        who = caller(tokens_per_minute=1000, concurrent_requests=1)
        entered = asyncio.Event()

        async def answer() -> None:
            async with bench.reserve(who, 1000) as reservation:
                reservation.used = 10
                entered.set()
                if how == "failure":
                    raise ZeroDivisionError
                await asyncio.Event().wait()

        task = asyncio.create_task(answer())
        await entered.wait()
        task.cancel()
        with pytest.raises((ZeroDivisionError, asyncio.CancelledError)):
            await task
        async with bench.reserve(who, 990) as reservation:
            assert reservation.tokens is not None
            assert reservation.tokens.remaining == 0

    @pytest.mark.parametrize(("limit", "per"), [("tokens_per_minute", "minute"), ("tokens_per_day", "day")])
    async def test_a_request_that_can_never_pass_is_not_told_to_wait(
        self, bench: Bench, limit: str, per: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=f"may use 100 a {per}") as caught:
            async with bench.reserve(caller("one", **{limit: 100}), 101):
                pass
        assert (caught.value.code, caught.value.parameter) == ("request_too_large", "max_tokens")


class TestTokensPerDay:
    async def test_the_database_counts_and_what_is_under_way_counts_too(self, bench: Bench) -> None:
        who = caller(tokens_per_day=1000)
        bench.books.used["one", date(2026, 7, 14)] = 500
        async with bench.reserve(who, 400):
            with pytest.raises(RateLimited, match="may use 1000 tokens a day") as caught:
                async with bench.reserve(who, 101):
                    pass
        assert caught.value.kind is Kind.TOKENS_PER_DAY
        assert caught.value.retry_after == 30.0
        async with bench.reserve(who, 500):
            pass

    async def test_while_the_database_is_away_the_last_count_goes_on_to_hold(self, bench: Bench) -> None:
        who = caller(tokens_per_day=1000)
        bench.books.used["one", date(2026, 7, 14)] = 950
        async with bench.reserve(who, 1):
            pass
        bench.books.down = True
        with pytest.raises(RateLimited):
            async with bench.reserve(who, 51):
                pass
        async with bench.reserve(who, 50):
            pass

    async def test_a_budget_that_was_never_known_is_not_guessed(self, bench: Bench) -> None:
        bench.books.down = True
        with pytest.raises(StorageUnavailable):
            async with bench.reserve(caller(tokens_per_day=1000), 1):
                pass


class TestRequestsAtOnce:
    async def test_one_too_many_is_told_how_long_such_requests_take(self) -> None:
        now = [0.0]
        bench = bench_over(MemoryLedger(), clock=lambda: now[0])
        who = caller(concurrent_requests=2)
        async with bench.reserve(who, 1):
            now[0] += 20.0
        async with bench.reserve(who, 1), bench.reserve(who, 1):
            with pytest.raises(RateLimited, match="2 requests answered at once") as caught:
                async with bench.reserve(who, 1):
                    pass
        assert caught.value.kind is Kind.CONCURRENT_REQUESTS
        assert caught.value.retry_after == 10.0
        await bench.limiter.close()

    async def test_keys_do_not_take_each_others_places(self, bench: Bench) -> None:
        async with (
            bench.reserve(caller("one", concurrent_requests=1), 1),
            bench.reserve(caller("two", concurrent_requests=1), 1),
        ):
            pass


class TestReplicas:
    async def test_two_enforce_one_limit_together(self, redis_url: str) -> None:
        who = caller(requests_per_minute=60)
        async with replica(redis_url) as one, replica(redis_url) as other:
            waves = [await asyncio.gather(granted(one, who, 20), granted(other, who, 20)) for _ in range(5)]
        passed = [sum(each) for each in zip(*waves, strict=True)]
        assert sum(passed) == 60
        assert all(passed)

    async def test_two_enforce_one_budget_of_tokens_together(self, redis_url: str) -> None:
        who = caller(tokens_per_minute=1000)

        async def use(bench: Bench, requests: int) -> int:
            used = 0
            for _ in range(requests):
                try:
                    async with bench.reserve(who, 50) as reservation:
                        reservation.used = 7
                        used += 7
                except RateLimited:
                    pass
            return used

        async with replica(redis_url) as one, replica(redis_url) as other:
            used = await asyncio.gather(*(use(bench, 50) for bench in (one, other) for _ in range(2)))
        # The last 50 tokens cannot be reserved.
        assert 1000 - 50 - 4 * 50 <= sum(used) <= 1000

    async def test_places_are_shared_and_outlive_a_restart_of_redis(
        self, redis_server: RedisServer, redis_url: str
    ) -> None:
        who = caller(concurrent_requests=1)
        async with replica(redis_url, renew_every=0.01) as one, replica(redis_url) as other:
            async with one.reserve(who, 1):
                assert await refused(other, who)
                redis_server.empty()
                async with asyncio.timeout(5):
                    while not await refused(other, who):  # noqa: ASYNC110 - it has no event
                        await asyncio.sleep(0)
            assert not await refused(other, who)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what a task in the background does."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def refused(bench: Bench, who: Caller) -> bool:
    try:
        async with bench.reserve(who, 1):
            return False
    except RateLimited:
        return True


class TestWithoutRedis:
    @pytest.mark.parametrize("how", ["stop", "pause"])
    async def test_minute_limits_are_open_and_the_operator_learns_of_it_once(
        self, redis_server: RedisServer, how: str
    ) -> None:
        who = caller(requests_per_minute=1, tokens_per_minute=10)
        with capture_logs() as lines:
            async with replica(redis_server.url) as bench:
                assert await granted(bench, who, 2) == 1
                getattr(redis_server, how)()
                began = time.monotonic()
                for _ in range(50):
                    assert await bench.limiter.admit(who) is None
                    async with bench.reserve(who, 10) as reservation:
                        reservation.used = 10
                # Each alone would have waited for the time-out; together they wait for the first.
                assert time.monotonic() - began < 20 * TIMEOUT
                assert bench.metric("neo_limiter_unavailable_total") == 100
                await until(lambda: bool(lines))
                await asyncio.to_thread(redis_server.start)
                async with asyncio.timeout(5):
                    while await granted(bench, who, 2) == 2:  # noqa: ASYNC110 - it has no event
                        await asyncio.sleep(0)
        assert [(line["event"], line["log_level"]) for line in lines] == [
            ("store failed", "warning"),
            ("store is back", "info"),
        ]

    async def test_places_and_budgets_of_the_day_go_by_what_this_process_knows(
        self, redis_server: RedisServer
    ) -> None:
        books = Books({("one", date(2026, 7, 14)): 500})
        at_once = caller(concurrent_requests=1)
        daily = caller(tokens_per_day=1000)
        redis_server.stop()
        async with replica(redis_server.url, books) as bench:
            async with bench.reserve(at_once, 1):
                assert await refused(bench, at_once)
            assert not await refused(bench, at_once)
            async with bench.reserve(daily, 400):
                with pytest.raises(RateLimited):
                    async with bench.reserve(daily, 101):
                        pass

    async def test_a_key_without_limits_does_not_notice(self, redis_server: RedisServer) -> None:
        redis_server.stop()
        async with replica(redis_server.url) as bench:
            await bench.limiter.admit(caller())
            async with bench.reserve(caller(), 10**9):
                pass
            assert bench.metric("neo_limiter_unavailable_total") == 0
