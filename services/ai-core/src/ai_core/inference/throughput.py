"""How fast requests are served when there is enough to do. Pure: times are arguments, in seconds."""

from __future__ import annotations

MEMORY_SECONDS = 60.0
"""Of full work. What is older counts half, what is older than twice this a quarter, and so on."""


class Throughput:
    """The rate at which places become free.

    Measured against the work that is done, not against the time that passes: an hour without requests does
    not make a server slow.
    """

    def __init__(self, side_by_side: int) -> None:
        """``side_by_side``: how many requests are worked on at once, if there are as many."""
        self._side_by_side = side_by_side
        self._work = 0.0
        self._ended = 0.0
        self._now: float | None = None

    def advance(self, now: float, under_way: int) -> None:
        """Until now, so many requests were there."""
        if self._now is not None:
            self._work += max(now - self._now, 0.0) * min(under_way, self._side_by_side)
        self._now = now
        if self._work > 2 * MEMORY_SECONDS * self._side_by_side:
            self._work /= 2
            self._ended /= 2

    def ended(self) -> None:
        """One of them has ended."""
        self._ended += 1

    def per_second(self) -> float | None:
        """Requests that end per second while all who are worked on at once are there; None: not known yet."""
        if not self._ended or not self._work:
            return None
        return self._ended * self._side_by_side / self._work
