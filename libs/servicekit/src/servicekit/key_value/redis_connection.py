"""A connection to Redis that tells a slow server from a slow self, and leaves a server that is away alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from servicekit.key_value.breaker import Breaker
from servicekit.key_value.failures import StoreUnavailable, Unavailable

TIMEOUT = 0.1
"""Seconds for one exchange, connecting included: nobody waits longer for a Redis that is away."""
PROBE_TIMEOUT = 1.0
"""Seconds in which it must answer to count as being there."""
CONNECTIONS = 8
GRACE_TURNS = 10
"""Of the event loop, after the time-out, in which what has arrived already is read."""

Result = TypeVar("Result")


class RedisAway(Exception):
    """Redis did not answer, or is known not to."""


class RedisConnection:
    """A Redis that is away costs one request its time-out, and those that follow nothing; within two seconds
    of its return it is used again.

    Attributes:
        client: for commands, to be sent through :meth:`exchange`.
        breaker: open while Redis is away.
    """

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        timeout: float = TIMEOUT,
        unavailable: Unavailable = StoreUnavailable,
    ) -> None:
        """No connection is made yet. ``password`` goes before one in the URL; ``unavailable`` makes the
        error that callers see while Redis is away.

        Raises:
            ValueError: the URL is none of Redis.
        """
        own = {} if password is None else {"password": password}
        # No time-outs and no retries of its own: they would not know whether it was us who were slow. Nothing
        # that is sent but commands.
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=None,
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
            protocol=2,
            **own,
        )
        self._timeout = timeout
        self.client: Any = Redis(connection_pool=self._pool)
        self.breaker = Breaker("Redis", self._answers, unavailable)

    async def exchange(self, work: Awaitable[Result]) -> Result:
        """What a command, or several in a pipeline, gives.

        Raises:
            StoreUnavailable: Redis is away. What was sent may have been carried out all the same.
        """
        try:
            return await self.attempt(work)
        except RedisAway as away:
            raise self.breaker.refusal() from away

    async def attempt(self, work: Awaitable[Result]) -> Result:
        """As :meth:`exchange`, for those who tell several callers what became of it. Raises RedisAway."""
        task = asyncio.ensure_future(work)
        try:
            if self.breaker.open:
                raise RedisAway
            await in_time(task, self._timeout)
            return task.result()
        except (RedisError, OSError) as error:
            self.breaker.trip(type(error).__name__)
            raise RedisAway from error
        finally:
            task.cancel()

    async def ping(self) -> float:
        """Seconds that Redis took to answer. Raises StoreUnavailable."""
        began = time.perf_counter()
        await self.exchange(self.client.ping())
        return time.perf_counter() - began

    async def close(self) -> None:
        """Let go of all connections; no call may follow."""
        await self.breaker.close()
        await self.client.aclose()
        await self._pool.disconnect()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                await self.client.ping()
        except (RedisError, OSError):
            return False
        return True


async def in_time(task: asyncio.Future[Any], seconds: float) -> None:
    """Returns when a task is done. Raises TimeoutError if that is not so after some seconds.

    Where the machine is busy, a time-out may ring while the answer lies in the socket, unread because we had
    no turn. So it is given the turns that reading it takes.
    """
    await asyncio.wait({task}, timeout=seconds)
    for _ in range(GRACE_TURNS):
        if task.done():
            return
        await asyncio.sleep(0)
    if not task.done():
        raise TimeoutError
