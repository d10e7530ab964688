"""What a service keeps beside its database and may lose: in Redis where there is one, else in the process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from servicekit.journal.redis_wakeups import RedisWakeups
from servicekit.journal.wakeups import LocalWakeups, Wakeups
from servicekit.key_value.embedded import EmbeddedStore
from servicekit.key_value.embedded_limits import EmbeddedLimits
from servicekit.key_value.enduring_limits import EnduringLimits
from servicekit.key_value.limits import Limits
from servicekit.key_value.port import KeyValueStore
from servicekit.key_value.redis_connection import TIMEOUT, RedisConnection
from servicekit.key_value.redis_limits import RedisLimits
from servicekit.key_value.redis_store import RedisStore

EMBEDDED_BYTES = 64 * 1024 * 1024
"""Of values that are kept in the process."""


def _redis_url(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in {"redis", "rediss", "unix"} or not (parts.hostname or parts.path):
        raise ValueError("expected an address like redis://127.0.0.1:6379/0")
    return value


RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
"""A setting's type: an address that :func:`open_hot_state` takes."""


@dataclass(frozen=True, slots=True)
class HotState:
    """Whoever uses it does without while Redis is away: ``store`` raises StoreUnavailable then, ``limits``
    and ``wakeups`` go by this process alone."""

    store: KeyValueStore
    limits: Limits
    wakeups: Wakeups
    ping: Callable[[], Awaitable[float]] | None
    """Seconds that Redis took to answer; raises StoreUnavailable. None: there is none."""


@asynccontextmanager
async def open_hot_state(
    url: str | None,
    password: str | None = None,
    *,
    prefix: str,
    on_failure: Callable[[], None],
    redis_seconds: float = TIMEOUT,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[HotState]:
    """Hot state for one service; a Redis that is away when this begins is used when it comes.

    Args:
        url: of Redis; None: everything is kept in this process.
        prefix: the service's own: begins every key, and names its channel.
        on_failure: called for each limit that could not be looked up in Redis.
        redis_seconds: that one exchange with Redis may take.
        clock: of the limits, in seconds, the same in all processes; None: that of Redis, or this process's.

    Raises:
        ValueError: the URL is none of Redis.
    """
    if url is None:
        own = EmbeddedLimits(clock or time.monotonic)
        yield HotState(EmbeddedStore(EMBEDDED_BYTES), own, LocalWakeups(), None)
        return
    async with AsyncExitStack() as stack:
        # Large values on their way must not hold up limits, which every message waits for.
        for_values, for_limits = (
            RedisConnection(url, password=password),
            RedisConnection(url, password=password),
        )
        for connection in (for_values, for_limits):
            stack.push_async_callback(connection.close)
        store = RedisStore(for_values, prefix=prefix)
        limits = EnduringLimits(
            RedisLimits(for_limits, prefix=prefix, clock=clock),
            own=EmbeddedLimits(clock or time.monotonic),
            on_failure=on_failure,
        )
        stack.push_async_callback(store.close)
        stack.push_async_callback(limits.close)
        wakeups = await stack.enter_async_context(RedisWakeups(for_values, channel=prefix + "wakeups"))
        yield HotState(store, limits, wakeups, for_limits.ping)
