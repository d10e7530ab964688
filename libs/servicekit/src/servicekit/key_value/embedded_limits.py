"""Limits inside this process: the embedded default. They end with it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from servicekit.key_value import buckets as arithmetic
from servicekit.key_value.buckets import SECOND
from servicekit.key_value.limits import ONCE_SECONDS, Bucket

TIDY_ABOVE = 1_000
"""So many of one kind are not worth looking for those that are over."""


@dataclass(slots=True)
class _Sum:
    ends: int
    items: dict[str, int] = field(default_factory=dict)
    total: int = 0


class EmbeddedLimits:
    """Implements :class:`.limits.Limits`. What is over is dropped when there is twice as much as after the
    last time, so it costs next to nothing per call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is in seconds."""
        self._clock = clock
        self._full_at: dict[str, int] = {}
        self._sums: dict[str, _Sum] = {}
        self._decided: dict[str, tuple[int, int]] = {}
        """By what for: until when it is remembered, and the wait."""
        self._tidy_above = TIDY_ABOVE

    async def take(
        self, buckets: Sequence[Bucket], amount: float = 1.0, *, patience: float = 0.0, once: str = ""
    ) -> float:
        now = self._now()
        drafts = [arithmetic.draft(bucket, amount) for bucket in buckets]
        until, wait = self._decided.get(once, (0, 0))
        if until > now:
            return wait / SECOND
        full_at = [self._full_at.get(bucket.key, now) for bucket in buckets]
        wait, full_at = arithmetic.take(drafts, full_at, now, math.floor(patience * SECOND))
        self._full_at.update(zip((bucket.key for bucket in buckets), full_at, strict=True))
        if once:
            self._decided[once] = now + round(ONCE_SECONDS * SECOND), wait
        self._tidy(now)
        return wait / SECOND

    async def hold(self, bucket: Bucket, seconds: float) -> None:
        now = self._now()
        until = now + math.ceil(seconds * SECOND)
        self._full_at[bucket.key] = arithmetic.held(bucket, self._full_at.get(bucket.key, now), until)
        self._tidy(now)

    async def count(self, key: str, item: str, amount: int, ttl: float) -> int:
        now = self._now()
        found = self._sum(key, now) or _Sum(now)
        found.total += amount - found.items.get(item, 0)
        found.items[item] = amount
        found.ends = now + math.ceil(ttl * SECOND)
        self._sums[key] = found
        self._tidy(now)
        return found.total

    async def counted(self, key: str) -> int:
        found = self._sum(key, self._now())
        return 0 if found is None else found.total

    async def forget(self, *keys: str) -> None:
        for key in keys:
            self._full_at.pop(key, None)
            self._sums.pop(key, None)

    async def close(self) -> None:
        """What is held goes with the process."""

    @property
    def held(self) -> int:
        """Buckets, sums and decisions, some of them perhaps over."""
        return len(self._full_at) + len(self._sums) + len(self._decided)

    def _now(self) -> int:
        return round(self._clock() * SECOND)

    def _sum(self, key: str, now: int) -> _Sum | None:
        found = self._sums.get(key)
        return found if found is not None and found.ends > now else None

    def _tidy(self, now: int) -> None:
        if self.held <= self._tidy_above:
            return
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._sums = {key: found for key, found in self._sums.items() if found.ends > now}
        self._decided = {once: known for once, known in self._decided.items() if known[0] > now}
        self._tidy_above = max(TIDY_ABOVE, 2 * self.held)
