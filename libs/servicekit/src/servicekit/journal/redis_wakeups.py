"""Wake-ups that reach all processes which keep the same journal, over Redis' publish and subscribe.
https://redis.io/docs/latest/develop/pubsub/"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from types import TracebackType
from typing import Any, Self

from redis.exceptions import RedisError

from servicekit.journal.wakeups import Bell, LocalWakeups
from servicekit.key_value.failures import StoreUnavailable
from servicekit.key_value.redis_connection import RedisConnection

AGAIN_SECONDS = 0.5
"""After which a Redis that is away is asked again to listen to."""


class RedisWakeups:
    """Implements :class:`.wakeups.Wakeups`; an async context manager. In this process a ring is heard at
    once, whether Redis is there or not; in the others a moment later, or not at all while it is away."""

    def __init__(self, connection: RedisConnection, *, channel: str) -> None:
        """``channel`` is the journal's own. Whoever opened the connection closes it, after this."""
        self._connection = connection
        self._channel = channel
        self._me = uuid.uuid4().bytes
        self._local = LocalWakeups()
        self._rung = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._subscribe())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def ring(self) -> None:
        self._local.ring()
        self._rung.set()

    def listen(self) -> Bell:
        return self._local.listen()

    async def _publish(self) -> None:
        """What rings while one ring is on its way leaves together with the next."""
        while True:
            await self._rung.wait()
            self._rung.clear()
            with contextlib.suppress(StoreUnavailable):
                await self._connection.exchange(self._connection.client.publish(self._channel, self._me))

    async def _subscribe(self) -> None:
        while True:
            # A subscription of its own after each loss: what one that broke has half read is nobody's.
            listener = self._connection.client.pubsub(ignore_subscribe_messages=False)
            try:
                await self._hear(listener)
            except (RedisError, OSError):
                await asyncio.sleep(AGAIN_SECONDS)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await listener.aclose()

    async def _hear(self, listener: Any) -> None:
        await listener.subscribe(self._channel)
        async for message in listener.listen():
            # The first one says that we are listening: whatever rang before was heard by nobody here.
            if message["data"] != self._me:
                self._local.ring()
