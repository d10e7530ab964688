"""Admission: a bounded count of requests per model, and when to come back if it is full."""

from __future__ import annotations

from collections import deque

from ai_core.errors import Overloaded

RATE_WINDOW_SECONDS = 60.0
RATE_SAMPLES = 256
RETRY_WITHOUT_RATE = 5.0
RETRY_RANGE = (1.0, 60.0)


def retry_after(per_second: float, side_by_side: int) -> float:
    """Seconds until about ``side_by_side`` places are free again, at this rate of finished requests.

    One place would be free sooner, but everybody who is refused now would come back for it at once.
    """
    if per_second <= 0:
        return RETRY_WITHOUT_RATE
    low, high = RETRY_RANGE
    return min(max(side_by_side / per_second, low), high)


class ServiceRate:
    """How many requests were finished per second lately."""

    def __init__(self) -> None:
        self._finished: deque[float] = deque(maxlen=RATE_SAMPLES)

    def note(self, now: float) -> None:
        """A request has just left."""
        self._finished.append(now)

    def per_second(self, now: float) -> float:
        """The rate over the last minute, or over the last 256 requests if those took less."""
        while self._finished and self._finished[0] < now - RATE_WINDOW_SECONDS:
            self._finished.popleft()
        if len(self._finished) < 2:
            return 0.0
        return len(self._finished) / max(now - self._finished[0], 0.001)


class Tickets:
    """The places of one model: those that run side by side, and those that wait."""

    def __init__(self, running: int, waiting: int) -> None:
        self._running = running
        self.places = running + waiting
        self.taken = 0
        self._rate = ServiceRate()

    def take(self, now: float) -> None:
        """Take a place. Raises Overloaded, with when to come back, if all are taken."""
        if self.taken >= self.places:
            raise Overloaded(
                f"All {self.places} places for this model are taken. Try again a little later.",
                retry_after=retry_after(self._rate.per_second(now), self._running),
            )
        self.taken += 1

    def give_back(self) -> None:
        """Free a place that was taken."""
        self.taken -= 1

    def note_served(self, now: float) -> None:
        """An accepted request has ended. Refused ones say nothing about how fast places become free."""
        self._rate.note(now)
