"""A store in Redis: shared by replicas, and it outlives them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ai_core.storage.key_value import scripts
from ai_core.storage.key_value.breaker import Breaker

TIMEOUT = 0.1
"""Seconds for one operation, connecting included: nobody's answer waits longer for a cache."""
CONNECTIONS = 32


class RedisStore:
    """Implements :class:`.port.KeyValueStore`. A Redis that is away costs one request its time-out, and
    those that follow nothing; within a second of its return it is used again.

    Attributes:
        breaker: open while Redis is away.
    """

    def __init__(
        self, url: str, *, password: str | None = None, prefix: str = "", timeout: float = TIMEOUT
    ) -> None:
        """No connection is made yet. ``password`` goes before one in the URL; ``prefix`` begins every key.

        Raises:
            ValueError: the URL is none of Redis.
        """
        own = {} if password is None else {"password": password}
        # No retries: the breaker knows better when. Nothing that is sent but commands.
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
            protocol=2,
            **own,
        )
        self._redis: Any = Redis(connection_pool=self._pool)
        self._prefix = prefix
        self._timeout = timeout
        self._swap = self._redis.register_script(scripts.SWAP)
        self._index_put = self._redis.register_script(scripts.INDEX_PUT)
        self._index_list = self._redis.register_script(scripts.INDEX_LIST)
        self.breaker = Breaker("Redis", self._answers)

    async def get(self, key: str) -> bytes | None:
        async with self._guarded():
            value: bytes | None = await self._redis.get(self._prefix + key)
            return value

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        async with self._guarded():
            await self._redis.set(self._prefix + key, value, px=_milliseconds(ttl))

    async def swap(self, key: str, expected: bytes | None, value: bytes | None, ttl: float) -> bool:
        arguments: list[str | bytes | int] = [*_optional(expected), *_optional(value), _milliseconds(ttl)]
        async with self._guarded():
            return bool(await self._swap(keys=[self._prefix + key], args=arguments))

    async def delete(self, key: str) -> bool:
        async with self._guarded():
            return bool(await self._redis.delete(self._prefix + key))

    async def index_put(self, index: str, member: str, value: bytes, ttl: float) -> None:
        async with self._guarded():
            await self._index_put(keys=self._index(index), args=[member, value, _milliseconds(ttl)])

    async def index_remove(self, index: str, member: str) -> None:
        members, values = self._index(index)
        async with self._guarded(), self._redis.pipeline() as pipeline:
            await pipeline.zrem(members, member).hdel(values, member).execute()

    async def index_list(self, index: str, limit: int) -> list[tuple[str, bytes]]:
        async with self._guarded():
            members, values = await self._index_list(keys=self._index(index), args=[limit])
        pairs = zip(members, values, strict=True)
        return [(member.decode(), value) for member, value in pairs if value is not None]

    async def ping(self) -> float:
        began = time.perf_counter()
        async with self._guarded():
            await self._redis.ping()
        return time.perf_counter() - began

    async def close(self) -> None:
        await self.breaker.close()
        await self._redis.aclose()
        await self._pool.disconnect()

    def _index(self, index: str) -> list[str]:
        # In braces, so that a cluster keeps the two in one place.
        return [f"{self._prefix}{{{index}}}:{part}" for part in ("members", "values")]

    @asynccontextmanager
    async def _guarded(self) -> AsyncIterator[None]:
        self.breaker.check()
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (RedisError, OSError) as error:
            self.breaker.trip(type(error).__name__)
            raise self.breaker.refusal() from error

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                await self._redis.ping()
        except (RedisError, OSError):
            return False
        return True


def _milliseconds(ttl: float) -> int:
    return max(1, round(ttl * 1000))


def _optional(value: bytes | None) -> tuple[str, bytes]:
    return ("nothing", b"") if value is None else ("something", value)
