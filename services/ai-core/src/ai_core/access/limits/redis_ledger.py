"""The ledger that replicas share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from ai_core.access.limits import scripts
from ai_core.access.limits.ledger import Allowance, Decision, Demand, Kind, Lease
from ai_core.storage.redis_connection import RedisConnection
from servicekit.key_value.redis_calls import RedisScripts

PREFIX = "neo:limits:"
HIT, RESERVE, SETTLE, RENEW = range(4)


class RedisLedger:
    """Implements :class:`.ledger.Ledger`. Whoever opened the connection closes it, after the ledger."""

    def __init__(self, redis: RedisConnection, clock: Callable[[], float] | None = None) -> None:
        """``clock`` (seconds) goes in the place of Redis' own."""
        self._clock = clock
        self._scripts = RedisScripts(redis, [scripts.HIT, scripts.RESERVE, scripts.SETTLE, scripts.RENEW])

    async def hit(self, key_id: str, hit: str, limit: int) -> Allowance:
        answer = await self._call(HIT, key_id, "hits", hit, limit)
        return _allowance(limit, *map(int, answer))

    async def reserve(self, lease: Lease, demand: Demand) -> Decision:
        limits = (demand.tokens_per_minute, demand.tokens_per_day, demand.concurrent_requests)
        refused, *tokens = await self._call(
            RESERVE,
            lease.key_id,
            "at sums ends held",
            lease.id,
            demand.tokens,
            demand.used_today,
            *("" if limit is None else limit for limit in limits),
        )
        return Decision(
            Kind(refused.decode()) if refused else None,
            None if limits[0] is None else _allowance(limits[0], *map(int, tokens)),
        )

    async def settle(self, lease: Lease, tokens: int) -> None:
        await self._call(SETTLE, lease.key_id, "at sums ends held", lease.id, tokens)

    async def renew(self, leases: Iterable[Lease]) -> None:
        calls = (self._call(RENEW, lease.key_id, "ends held", lease.id, lease.tokens) for lease in leases)
        await asyncio.gather(*calls)

    async def close(self) -> None:
        await self._scripts.close()

    async def _call(self, script: int, key_id: str, parts: str, *arguments: str | int) -> Any:
        now = "" if self._clock is None else round(self._clock() * 1000)
        # In braces, so that a cluster keeps them in one place.
        keys = [f"{PREFIX}{{{key_id}}}:{part}" for part in parts.split()]
        return await self._scripts.call(script, keys, [now, *arguments])


def _allowance(limit: int, used: int, reset: int, retry: int) -> Allowance:
    return Allowance(limit, max(limit - used, 0), reset / 1000, retry / 1000)
