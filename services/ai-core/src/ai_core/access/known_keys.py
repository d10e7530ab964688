"""Callers by the id of their key, for work that goes on without them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ai_core.access.authenticator import KeySource, caller_of, utc_now
from ai_core.access.caller import Caller


class KnownKeys:
    """Looks keys up each time, so that a revocation holds at once. They have been shown before; so what is
    bound to a request, like the network that it comes from, was checked then."""

    def __init__(self, keys: KeySource, now: Callable[[], datetime] = utc_now) -> None:
        self._keys = keys
        self._now = now

    async def caller(self, key_id: str) -> Caller | None:
        """Who a key is; None if it is revoked or has expired. Raises StorageUnavailable."""
        record = await self._keys.find(key_id)
        if record is None or record.revoked_at is not None:
            return None
        if record.expires_at is not None and record.expires_at <= self._now():
            return None
        return caller_of(record)
