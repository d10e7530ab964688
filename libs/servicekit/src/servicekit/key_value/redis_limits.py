"""Limits in Redis: they hold for all processes together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import IntEnum

from servicekit.key_value import buckets as arithmetic
from servicekit.key_value import limit_scripts
from servicekit.key_value.buckets import SECOND
from servicekit.key_value.limits import Bucket
from servicekit.key_value.redis_calls import Argument, RedisScripts
from servicekit.key_value.redis_connection import RedisConnection


class _Script(IntEnum):
    """The number of a script is its place in :data:`_SOURCES`."""

    TAKE = 0
    HOLD = 1
    COUNT = 2
    COUNTED = 3
    FORGET = 4


_SOURCES = [
    limit_scripts.TAKE,
    limit_scripts.HOLD,
    limit_scripts.COUNT,
    limit_scripts.COUNTED,
    limit_scripts.FORGET,
]


class RedisLimits:
    """Implements :class:`.limits.Limits`. Whoever opened the connection closes it, after the limits."""

    def __init__(
        self, connection: RedisConnection, *, prefix: str = "", clock: Callable[[], float] | None = None
    ) -> None:
        """``prefix`` begins every key; ``clock`` (seconds) goes in the place of Redis' own."""
        self._prefix = prefix
        self._clock = clock
        self._scripts = RedisScripts(connection, _SOURCES)

    async def take(
        self, buckets: Sequence[Bucket], amount: float = 1.0, *, patience: float = 0.0, once: str = ""
    ) -> float:
        drafts = [arithmetic.draft(bucket, amount) for bucket in buckets]
        keys = [self._prefix + "once:" + once, *(self._prefix + bucket.key for bucket in buckets)]
        arguments: list[Argument] = [self._now(), math.floor(patience * SECOND), once]
        for one in drafts:
            arguments += [one.cost, one.room]
        wait: int = await self._scripts.call(_Script.TAKE, keys, arguments)
        return wait / SECOND

    async def hold(self, bucket: Bucket, seconds: float) -> None:
        later = arithmetic.held(bucket, 0, math.ceil(seconds * SECOND))
        await self._scripts.call(_Script.HOLD, [self._prefix + bucket.key], [self._now(), later])

    async def count(self, key: str, item: str, amount: int, ttl: float) -> int:
        arguments: list[Argument] = [item, amount, math.ceil(ttl * 1000)]
        total: int = await self._scripts.call(_Script.COUNT, [self._prefix + key], arguments)
        return total

    async def counted(self, key: str) -> int:
        total: int = await self._scripts.call(_Script.COUNTED, [self._prefix + key], [])
        return total

    async def forget(self, *keys: str) -> None:
        if keys:
            await self._scripts.call(_Script.FORGET, [self._prefix + key for key in keys], [])

    async def close(self) -> None:
        await self._scripts.close()

    def _now(self) -> Argument:
        return "" if self._clock is None else round(self._clock() * SECOND)
