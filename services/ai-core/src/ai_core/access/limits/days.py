"""The tokens of a day: counted for good by the database."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from ai_core.errors import StorageUnavailable

REMEMBERED_KEYS = 10_000


class DayUsage(Protocol):
    """Where the tokens of each day are counted for good."""

    async def tokens_of_day(self, key_id: str, day: date) -> int:
        """What a key has used on a day (UTC). Raises StorageUnavailable."""


class Days:
    """What keys have used on this day, by the database; the last that is known while that is away."""

    def __init__(self, usage: DayUsage, now: Callable[[], datetime]) -> None:
        self._usage = usage
        self._now = now
        self._known: OrderedDict[str, tuple[date, int]] = OrderedDict()

    async def used(self, key_id: str) -> int:
        """Tokens of a key on this day. Raises StorageUnavailable if nothing was ever known."""
        today = self._now().date()
        try:
            used = await self._usage.tokens_of_day(key_id, today)
        except StorageUnavailable:
            day, used = self._known.get(key_id, (None, 0))
            if day != today:
                raise
            return used
        self._known[key_id] = (today, used)
        self._known.move_to_end(key_id)
        if len(self._known) > REMEMBERED_KEYS:
            self._known.popitem(last=False)
        return used

    def seconds_left(self) -> float:
        """Until midnight UTC."""
        now = self._now()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
        return (midnight - now).total_seconds()
