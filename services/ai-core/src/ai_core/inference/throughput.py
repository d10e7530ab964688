"""How fast requests are served when there is enough to do. Pure: times are arguments, in seconds."""

from __future__ import annotations

MEMORY_SECONDS = 60.0
"""Of full work. What is older counts half, what is older than twice this a quarter, and so on."""


class _Measured:
    """Requests that ended, and the work in which they did: seconds × requests side by side."""

    def __init__(self, memory: float) -> None:
        self.work = 0.0
        self.ended = 0.0
        self._memory = memory

    def add(self, work: float) -> None:
        self.work += work
        if self.work > 2 * self._memory:
            self.work /= 2
            self.ended /= 2


class Throughput:
    """The rate at which places become free.

    Measured against the work that is done, not against the time that passes: an hour without requests does
    not make a server slow. What was measured while all were there goes before the rest, because eight
    answers side by side take longer each than one alone.
    """

    def __init__(self, side_by_side: int) -> None:
        """``side_by_side``: how many requests are worked on at once, if there are as many."""
        self._side_by_side = side_by_side
        self._all = _Measured(MEMORY_SECONDS * side_by_side)
        self._full = _Measured(MEMORY_SECONDS * side_by_side)
        self._is_full = False
        self._now: float | None = None

    def advance(self, now: float, under_way: int) -> None:
        """Until now, so many requests were there."""
        self._is_full = under_way >= self._side_by_side
        if self._now is not None:
            work = max(now - self._now, 0.0) * min(under_way, self._side_by_side)
            self._all.add(work)
            if self._is_full:
                self._full.add(work)
        self._now = now

    def ended(self) -> None:
        """One of those who were there has ended."""
        self._all.ended += 1
        if self._is_full:
            self._full.ended += 1

    def per_second(self) -> float | None:
        """Requests that end per second while all who are worked on at once are there; None: not known yet."""
        measured = self._full if self._full.ended >= self._side_by_side else self._all
        if not measured.ended or not measured.work:
            return None
        return measured.ended * self._side_by_side / measured.work
