"""When those for whom there is no place are told to come back. Pure: times are arguments, in seconds.

Places become free one after the other, so whoever is refused is told a time of their own, behind all who
were told one before and are still expected. Told the same time, they would come back together, and most
would be refused again: with three times the load that can be served, for twenty seconds, callers who all
come back need 11 attempts on average then, and 1.4 in this way; 72 % of them wait between half and twice
of what they were told first.

Not everybody does come back. How many do is learned from those whose time has come, and only so many of
the others are expected.
"""

from __future__ import annotations

import heapq
import math

from ai_core.inference.throughput import Throughput

RETRY_RANGE = (1, 60)
"""Whole seconds, as HTTP has them. Client libraries do not wait longer."""
RETRY_WITHOUT_RATE = 5
"""While nothing is known about how fast requests are served."""
LATE = 1.5
"""Who is later than so many times the wait does not come any more."""
LEARNING = 0.05
"""What one who comes, or does not, changes in the part that is expected."""
MAX_EXPECTED = 10_000


class Appointments:
    """Attributes:
    returning: the part of those refused who come back, 0 to 1; at first it is believed that all do.
    """

    def __init__(self) -> None:
        self.returning = 1.0
        self._given_up_at: dict[int, float] = {}
        self._by_time: list[tuple[float, int]] = []

    def __len__(self) -> int:
        """Those who were told a time and may still come."""
        return len(self._given_up_at)

    def arrived(self, who: int, now: float) -> None:
        """Somebody asks for a place, perhaps again: ``who`` is the same when they come back."""
        self._give_up(now)
        if self._given_up_at.pop(who, None) is not None:
            self._learn(1.0)

    def make(self, who: int, now: float, rate: Throughput) -> float:
        """Seconds after which somebody who was refused shall come back."""
        per_second = rate.per_second()
        if per_second is None:
            wait = RETRY_WITHOUT_RATE
        else:
            shortest, longest = RETRY_RANGE
            position = 1 + self.returning * len(self)
            wait = min(max(math.ceil(position / per_second), shortest), longest)
        if len(self) < MAX_EXPECTED:
            self._given_up_at[who] = now + wait * LATE
            heapq.heappush(self._by_time, (now + wait * LATE, who))
        return wait

    def _give_up(self, now: float) -> None:
        while self._by_time and self._by_time[0][0] < now:
            at, who = heapq.heappop(self._by_time)
            # Those who came, and those who were told another time since, have another entry or none.
            if self._given_up_at.get(who) == at:
                del self._given_up_at[who]
                self._learn(0.0)

    def _learn(self, came: float) -> None:
        self.returning += (came - self.returning) * LEARNING
