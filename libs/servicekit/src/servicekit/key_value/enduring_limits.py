"""Shared limits that nobody is silenced by when they are away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from servicekit.key_value.embedded_limits import EmbeddedLimits
from servicekit.key_value.failures import StoreUnavailable
from servicekit.key_value.limits import Bucket, Limits

Result = TypeVar("Result")


def _not_counted() -> None:
    """For those who do not care."""


class EnduringLimits:
    """Implements :class:`.limits.Limits` over another one, and raises StoreUnavailable nowhere but in
    :meth:`forget`, after which what the other holds would come back: while that is away, this process goes by
    buckets and sums of its own, full and empty at first. So a message more than the limit may pass, and none
    that is within it is refused."""

    def __init__(
        self,
        shared: Limits,
        *,
        own: Limits | None = None,
        on_failure: Callable[[], None] = _not_counted,
    ) -> None:
        """``on_failure`` is called for each decision that the shared limits did not make."""
        self._shared = shared
        self._own = own or EmbeddedLimits()
        self._on_failure = on_failure

    async def take(
        self, buckets: Sequence[Bucket], amount: float = 1.0, *, patience: float = 0.0, once: str = ""
    ) -> float:
        return await self._first(lambda limits: limits.take(buckets, amount, patience=patience, once=once))

    async def hold(self, bucket: Bucket, seconds: float) -> None:
        await self._first(lambda limits: limits.hold(bucket, seconds))

    async def count(self, key: str, item: str, amount: int, ttl: float) -> int:
        return await self._first(lambda limits: limits.count(key, item, amount, ttl))

    async def counted(self, key: str) -> int:
        return await self._first(lambda limits: limits.counted(key))

    async def forget(self, *keys: str) -> None:
        await self._own.forget(*keys)
        try:
            await self._shared.forget(*keys)
        except StoreUnavailable:
            self._on_failure()
            raise

    async def close(self) -> None:
        await self._shared.close()
        await self._own.close()

    async def _first(self, ask: Callable[[Limits], Awaitable[Result]]) -> Result:
        try:
            return await ask(self._shared)
        except StoreUnavailable:
            self._on_failure()
            return await ask(self._own)
