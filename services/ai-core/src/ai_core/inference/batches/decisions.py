"""What becomes of a line after it was asked, and whose turn is next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

NOT_NOW = frozenset({429, 503, 504})
"""Statuses that say nothing about the request: later, it may be answered."""
UNKNOWN_WAIT = 5.0
WAIT_RANGE = (1.0, 60.0)
"""Seconds. Nobody waits longer before asking again, whatever was said: limits can be raised meanwhile."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a line was answered. ``retry_after`` in seconds, where the answer says it."""

    status: int
    request_id: str
    body: bytes
    retry_after: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether there is an answer, not an error."""
        return self.status == 200


@dataclass(frozen=True, slots=True)
class Postponement:
    """The line waits for ``line`` seconds, and all others of its key for ``key`` seconds."""

    line: float
    key: float


def postponement(outcome: Outcome) -> Postponement | None:
    """How long to wait before asking again; None: this is the result."""
    if outcome.status not in NOT_NOW:
        return None
    low, high = WAIT_RANGE
    wait = min(max(UNKNOWN_WAIT if outcome.retry_after is None else outcome.retry_after, low), high)
    # A limit concerns all that the key sends; an engine that is away perhaps this one's model only.
    return Postponement(0.0, wait) if outcome.status == 429 else Postponement(wait, low)


def next_key(keys: Sequence[str], running: Mapping[str, int], resting: Collection[str]) -> str | None:
    """Whose line is next: the key that has the fewest running; among those, the first.

    Args:
        keys: those that have work, in the order in which they came.
        running: how many lines of each are under way here.
        resting: those that wait.
    """
    able = [key for key in keys if key not in resting]
    return min(able, key=lambda key: running.get(key, 0), default=None)
