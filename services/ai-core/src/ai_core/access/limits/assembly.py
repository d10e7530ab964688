"""The limits, put together for the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from ai_core.access.limits.days import DayUsage
from ai_core.access.limits.limiter import Limiter
from ai_core.access.limits.memory_ledger import MemoryLedger
from ai_core.access.limits.metrics import LimitMetrics
from ai_core.access.limits.redis_ledger import RedisLedger
from ai_core.storage.redis_connection import RedisConnection


@asynccontextmanager
async def open_limiter(
    redis: RedisConnection | None, usage: DayUsage, registry: CollectorRegistry
) -> AsyncIterator[Limiter]:
    """A limiter that counts in Redis, or in this process where there is none."""
    ledger = MemoryLedger() if redis is None else RedisLedger(redis)
    limiter = Limiter(ledger, usage, LimitMetrics(registry))
    try:
        yield limiter
    finally:
        await limiter.close()
        await ledger.close()
