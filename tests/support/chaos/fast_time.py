"""An event loop, and clocks, whose seconds are shorter.

Everything that waits in the loop waits a fraction of the time, in the service as in what surrounds it, so
that a run may have outages of seconds and last seconds itself.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
from collections.abc import Callable
from datetime import UTC, datetime

FACTOR = float(os.environ.get("CHAOS_FACTOR", "5"))
"""Seconds of a run in one real second; the same in all processes of a run."""


class _FastSelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout if timeout is None else timeout / FACTOR)


class FastLoop(asyncio.SelectorEventLoop):
    """Its time runs ``FACTOR`` times as fast as ours."""

    def __init__(self) -> None:
        super().__init__(_FastSelector())

    def time(self) -> float:
        return super().time() * FACTOR


def fast_monotonic() -> float:
    """``time.monotonic`` in such seconds."""
    return time.monotonic() * FACTOR


def fast_clock(epoch: float) -> Callable[[], float]:
    """``time.time`` in such seconds, which agrees with ours at ``epoch`` only: the same in all processes."""
    return lambda: epoch + (time.time() - epoch) * FACTOR


def fast_utc(epoch: float) -> Callable[[], datetime]:
    """The same as a moment in UTC."""
    clock = fast_clock(epoch)
    return lambda: datetime.fromtimestamp(clock(), UTC)
