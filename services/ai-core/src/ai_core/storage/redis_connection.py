"""This service's Redis, whose failures are errors of this service."""

from __future__ import annotations

import servicekit.key_value.redis_connection as shared
from ai_core.errors import StoreUnavailable


class RedisConnection(shared.RedisConnection):
    """As the one of servicekit; while it is away, callers are told so with a 503."""

    def __init__(self, url: str, *, password: str | None = None, timeout: float = shared.TIMEOUT) -> None:
        """No connection is made yet. ``password`` goes before one in the URL.

        Raises:
            ValueError: the URL is none of Redis.
        """
        super().__init__(url, password=password, timeout=timeout, unavailable=StoreUnavailable)
