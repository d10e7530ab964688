"""Asks the ledger on behalf of callers, and goes on when the ledger is away."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ai_core.access.caller import Caller, KeyLimits
from ai_core.access.limits import refusal
from ai_core.access.limits.days import Days, DayUsage
from ai_core.access.limits.durations import Durations
from ai_core.access.limits.leases import RENEW_SECONDS, Leases
from ai_core.access.limits.ledger import Allowance, Decision, Demand, Kind, Lease, Ledger
from ai_core.access.limits.metrics import LimitMetrics
from ai_core.errors import InvalidRequest, StoreUnavailable

RETRY_RANGE = (1.0, 60.0)
"""Seconds for those who wait for a request of their own to end."""


@dataclass(slots=True)
class Reservation:
    """What a request may use. Set ``used`` as soon as it is known: that is what counts in the end.

    ``tokens`` tells how the tokens of this minute stand, where they are limited.
    """

    tokens: Allowance | None = None
    used: int = 0


def utc_now() -> datetime:
    """The time that days are counted by."""
    return datetime.now(UTC)


class Limiter:
    """The limits of all keys. One per process; :meth:`close` ends what it does in the background."""

    def __init__(
        self,
        ledger: Ledger,
        usage: DayUsage,
        metrics: LimitMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
        renew_every: float = RENEW_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._leases = Leases(ledger, renew_every)
        self._days = Days(usage, now)
        self._durations = Durations()

    async def admit(self, caller: Caller) -> Allowance | None:
        """Count one request of a caller; None where requests are not limited, or Redis is away.

        Raises:
            RateLimited: there were too many within this minute.
        """
        limit = caller.limits.requests_per_minute
        if limit is None:
            return None
        try:
            allowance = await self._ledger.hit(caller.key_id, uuid.uuid4().hex, limit)
        except StoreUnavailable:
            self._metrics.unavailable()
            return None
        if not allowance.granted:
            self._metrics.hit(Kind.REQUESTS_PER_MINUTE)
            raise refusal.too_many_requests(allowance)
        return allowance

    @asynccontextmanager
    async def reserve(self, key_id: str, limits: KeyLimits, tokens: int) -> AsyncIterator[Reservation]:
        """Entered once there is room for a request that may need so many tokens; leaving gives back the rest.

        Raises:
            RateLimited: not now.
            InvalidRequest: never; the request alone is more than the key allows.
            StorageUnavailable: the day's tokens are limited and not known.
        """
        if limits.tokens_per_minute is limits.tokens_per_day is limits.concurrent_requests is None:
            yield Reservation()
            return
        check_possible(limits, tokens)
        lease = Lease(key_id, uuid.uuid4().hex, tokens)
        reservation = Reservation((await self._decide(lease, limits)).tokens)
        began = self._clock()
        self._leases.open(lease)
        try:
            yield reservation
        finally:
            self._durations.note(key_id, self._clock() - began)
            await self._leases.settle(lease, reservation.used)

    async def close(self) -> None:
        """End the background work."""
        await self._leases.close()

    async def _decide(self, lease: Lease, limits: KeyLimits) -> Decision:
        used = 0 if limits.tokens_per_day is None else await self._days.used(lease.key_id)
        demand = Demand(
            tokens=lease.tokens,
            tokens_per_minute=limits.tokens_per_minute,
            tokens_per_day=limits.tokens_per_day,
            used_today=used,
            concurrent_requests=limits.concurrent_requests,
        )
        try:
            decision = await self._ledger.reserve(lease, demand)
        except StoreUnavailable:
            self._metrics.unavailable()
            decision = decide_alone(demand, self._leases.of(lease.key_id))
        if decision.refused is not None:
            self._metrics.hit(decision.refused)
            raise self._refusal(decision, lease, limits)
        return decision

    def _refusal(self, decision: Decision, lease: Lease, limits: KeyLimits) -> refusal.RateLimited:
        match decision.refused:
            case Kind.CONCURRENT_REQUESTS:
                at_once = limits.concurrent_requests or 1
                wait = self._durations.mean(lease.key_id) / at_once
                low, high = RETRY_RANGE
                return refusal.too_many_at_once(at_once, min(max(wait, low), high), decision.tokens)
            case Kind.TOKENS_PER_DAY:
                wait = self._days.seconds_left()
                return refusal.day_used_up(limits.tokens_per_day or 0, lease.tokens, wait, decision.tokens)
            case _:
                assert decision.tokens is not None
                return refusal.too_many_tokens(decision.tokens, lease.tokens)


def check_possible(limits: KeyLimits, tokens: int) -> None:
    """Raises InvalidRequest for a request that waiting cannot help."""
    for limit, per in ((limits.tokens_per_minute, "minute"), (limits.tokens_per_day, "day")):
        if limit is not None and tokens > limit:
            raise InvalidRequest(
                f"This request may need {tokens} tokens, and this API key may use {limit} a {per}. Lower "
                "'max_tokens' or shorten the text.",
                code="request_too_large",
                parameter="max_tokens",
            )


def decide_alone(demand: Demand, own: list[Lease]) -> Decision:
    """Without the ledger: limits per minute are open, the others go by this process' own requests."""
    if demand.concurrent_requests is not None and len(own) >= demand.concurrent_requests:
        return Decision(Kind.CONCURRENT_REQUESTS)
    held = sum(lease.tokens for lease in own)
    if demand.tokens_per_day is not None and demand.used_today + held + demand.tokens > demand.tokens_per_day:
        return Decision(Kind.TOKENS_PER_DAY)
    return Decision(None)
