"""When those for whom there is no place are told to come back, and the places that are kept for them until
then. Pure: times are arguments, in seconds.

Places become free one after the other, so whoever is refused is told a time of their own, behind all who
were told one before and are still expected. Told the same time, they would come back together, and most
would be refused again.

A time alone is not a promise: at three times the load that can be served, strangers take each place in the
moment in which it becomes free, and who was told to come a second later finds none. So places are kept:
nobody without an appointment gets one that somebody with an appointment will need. In simulations of
overload (tests) two thirds of those who keep to their time get in within twice that time without kept
places, and more than nine tenths with them; what is computed is the same within a few parts in a hundred.

Not everybody does come back. How many do is learned from those whose time has come, and so many of the
others are expected. Who comes weighs more in it than who does not: a place that was kept in vain is
taken by the next one soon, while one that was not kept breaks a promise.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

RETRY_RANGE = (1, 60)
"""Whole seconds, as HTTP has them. Client libraries do not wait longer."""
RETRY_WITHOUT_RATE = 5
"""While nothing is known about how fast requests are served."""
KEPT_SECONDS = 1.0
"""Who is later than this, and than a tenth of the wait, is not expected any more."""
KEPT_PART = 0.1
PUNCTUAL = 0.25
"""Who is earlier than this is early: places of others are not theirs, and their own time stays."""
AHEAD_SECONDS = 2.0
"""Of appointments so near, those are counted for which no place will have become free by then."""
LEARNING_FROM_WHO_COMES = 0.15
LEARNING_FROM_WHO_DOES_NOT = 0.05
MAX_EXPECTED = 10_000
MAX_COUNTED = 512
"""Near appointments that are looked at for one request."""


def always() -> bool:
    """Of an appointment that nothing else stands in the way of."""
    return True


@dataclass(slots=True, eq=False)
class Appointment:
    """What somebody was told. ``rank`` orders all of them: by the time that was told first."""

    who: int
    rank: tuple[float, int]
    may_enter: Callable[[], bool]
    """False: who has it would not be let in just now, even if there were a place."""
    due: float = 0.0
    given_up_at: float = 0.0
    came: bool = False
    """Once already, and there was no place."""
    counts: bool = field(default=True)


class Appointments:
    """Attributes:
    returning: the part of those refused who come back, 0 to 1; at first it is believed that all do.
    """

    def __init__(self) -> None:
        self.returning = 1.0
        self._by_rank: list[Appointment] = []
        self._of: dict[int, deque[Appointment]] = {}
        self._by_end: list[tuple[float, int, Appointment]] = []
        self._came = 0
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """Those who were told a time and may still come."""
        return len(self._by_rank)

    def arrived(self, who: int, now: float) -> Appointment | None:
        """Somebody asks for a place, perhaps again: ``who`` is the same when they come back."""
        self._give_up(now)
        theirs = self._of.get(who)
        if not theirs:
            return None
        if not theirs[0].came and now >= theirs[0].due - PUNCTUAL:
            theirs[0].came = True
            self._came += 1
            self._learn(came=True)
        return theirs[0]

    def free_for(self, mine: Appointment | None, now: float, room: int, per_second: float | None) -> bool:
        """Whether one of ``room`` places may be taken: by somebody whose time has come if none is left to
        those who came before and were sent away again, by everybody else if it is kept for nobody."""
        if per_second is None or not self._by_rank:
            return room > 0
        due = mine if mine is not None and now >= mine.due - PUNCTUAL else None
        return room >= 1 and self._kept(mine, due, now, room, per_second) <= room - 1

    def wait(self, mine: Appointment | None, now: float, lacking: int, per_second: float | None) -> int:
        """Seconds after which somebody who is refused shall come back. ``lacking``: how many places have to
        become free before there is one, if nobody else is expected."""
        shortest, longest = RETRY_RANGE
        if mine is not None and now < mine.due - PUNCTUAL:
            return min(max(math.ceil(mine.due - now), shortest), longest)
        if per_second is None:
            return RETRY_WITHOUT_RATE
        position = max(lacking + self._expected_before(mine), 0.0)
        # Answers are of unlike length, so the n-th place comes about √n places late or early.
        seconds = (position + math.sqrt(position)) / per_second
        return min(max(math.ceil(seconds), shortest), longest)

    def make(
        self,
        who: int,
        now: float,
        wait: float,
        mine: Appointment | None = None,
        may_enter: Callable[[], bool] = always,
    ) -> None:
        """``who`` was told to come back; ``mine`` is what they were told before, if they came for that."""
        if mine is None:
            if len(self) >= MAX_EXPECTED:
                return
            mine = Appointment(who, (now + wait, next(self._numbers)), may_enter)
            insort(self._by_rank, mine, key=_rank)
            self._of.setdefault(who, deque()).append(mine)
        mine.due = now + wait
        mine.given_up_at = mine.due + max(KEPT_SECONDS, KEPT_PART * wait)
        heapq.heappush(self._by_end, (mine.given_up_at, next(self._numbers), mine))

    def kept(self, mine: Appointment) -> None:
        """Who has it got a place."""
        if not mine.came:
            # Early, but back.
            self._learn(came=True)
        self._forget(mine)

    def _kept(
        self, mine: Appointment | None, due: Appointment | None, now: float, room: int, per_second: float
    ) -> float:
        """The places that others will need before enough have become free. More than ``room - 1`` is not
        told apart."""
        if self._weight(len(self), self._came) <= room - 1:
            return 0.0
        expected = most = 0.0
        for one in itertools.islice(self._by_rank, MAX_COUNTED):
            if one.rank[0] > now + AHEAD_SECONDS or one is due or most > room - 1:
                break
            # Whose time has come yields only to those who came before and found nothing.
            near = one.due <= now + AHEAD_SECONDS and one.may_enter()
            if one is mine or not near or (due is not None and not one.came):
                continue
            expected += 1.0 if one.came else self.returning
            most = max(most, expected - per_second * max(one.due - now, 0.0))
        return most

    def _expected_before(self, mine: Appointment | None) -> float:
        if mine is None:
            return self._weight(len(self), self._came)
        before = bisect_left(self._by_rank, mine.rank, key=_rank)
        return self._weight(before, min(self._came, before))

    def _weight(self, count: int, came: int) -> float:
        return came + (count - came) * self.returning

    def _give_up(self, now: float) -> None:
        while self._by_end and self._by_end[0][0] < now:
            at, _, one = heapq.heappop(self._by_end)
            # Those who came, and those who were told another time since, have another entry or none.
            if one.counts and one.given_up_at == at:
                if not one.came:
                    self._learn(came=False)
                self._forget(one)

    def _forget(self, one: Appointment) -> None:
        one.counts = False
        theirs = self._of[one.who]
        theirs.remove(one)
        if not theirs:
            del self._of[one.who]
        del self._by_rank[bisect_left(self._by_rank, one.rank, key=_rank)]
        self._came -= one.came

    def _learn(self, *, came: bool) -> None:
        step = LEARNING_FROM_WHO_COMES if came else LEARNING_FROM_WHO_DOES_NOT
        self.returning += (float(came) - self.returning) * step


def _rank(one: Appointment) -> tuple[float, int]:
    return one.rank
