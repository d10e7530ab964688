"""How long to wait before something is tried again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

SHORTEST_SECONDS = 2.0
LONGEST_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Later:
    """It cannot be done just now."""

    seconds: float
    reason: str
    """No text of users."""
    counts: bool = False
    """Whether this was an attempt that ended badly, of which there may be only a few."""


def after(age: timedelta, asked_for: float | None = None) -> float:
    """Seconds to wait for something of this age: half of it again, so that pauses grow.

    Args:
        asked_for: what the other side wants at least.
    """
    wait = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, age.total_seconds() / 2))
    return max(wait, asked_for or 0.0)
