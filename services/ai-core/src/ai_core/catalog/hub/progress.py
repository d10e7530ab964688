"""How fast it goes, and how long it will take. Pure: the clock is an argument."""

from __future__ import annotations

from collections import deque

WINDOW = 15.0
"""Seconds that a rate is taken over: short enough to follow a line that changes, long enough to be read."""


class Rate:
    """Bytes per second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def moved(self, now: float, done: int) -> None:
        """``done`` bytes are there at ``now`` (seconds of any clock that does not go back)."""
        if self._seen and done < self._seen[-1][1]:
            # Something was thrown away and comes again.
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """None: not known yet."""
        if len(self._seen) < 2:
            return None
        (begin, first), (end, last) = self._seen[0], self._seen[-1]
        return (last - first) / (end - begin) if end > begin else None

    def seconds_left(self, total: int) -> float | None:
        """Until ``total`` bytes are there; None: not known."""
        rate = self.per_second
        return (total - self._seen[-1][1]) / rate if rate else None
