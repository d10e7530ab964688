"""In which order waiting requests get their turn. Pure: times are arguments, in seconds.

Higher priority first. Within a priority, keys take turns by the cost of what they were given
(``engine.fair_share``): a key with a hundred requests does not hold up another key's single one, and a key
that was idle gets no credit for the past. Within a key, by arrival.

Nobody starves: a key's oldest request rises by one priority for every ``age_seconds`` in which neither it
nor another one of that key and priority had a turn. Not every request that is old: a key that floods the
queue would be lifted above everybody else by its own backlog.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ai_core.engine.fair_share import FairShare

AGE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request in the queue. ``cost``: prompt tokens plus ``max_tokens``."""

    id: int
    priority: int
    fairness_key: str
    arrived: float
    deadline: float | None
    cost: int
    alone: bool = False


@dataclass(slots=True)
class _Lane:
    """What waits in one priority under one key, by arrival; never empty."""

    waiting: list[Waiting] = field(default_factory=list)
    served: float = float("-inf")
    """When its last request was admitted."""

    def promotion(self, now: float, age_seconds: float) -> int:
        """Priorities by which the oldest request rises."""
        waited = now - max(self.waiting[0].arrived, self.served)
        return int(waited // age_seconds) if waited >= age_seconds else 0


@dataclass(slots=True)
class _Level:
    """One priority: its lanes by key, and whose turn it is."""

    lanes: dict[str, _Lane] = field(default_factory=dict)
    share: FairShare = field(default_factory=FairShare)


class Order:
    """All waiting requests.

    Args:
        age_seconds: waiting time after which a request rises by one priority; above 0.
    """

    def __init__(self, age_seconds: float = AGE_SECONDS) -> None:
        if age_seconds <= 0:
            raise ValueError("age_seconds must be above 0")
        self._age_seconds = age_seconds
        self._levels: dict[int, _Level] = {}
        self._by_id: dict[int, Waiting] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._now = float("-inf")

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, waiting: Waiting) -> None:
        """Queue a request.

        Raises:
            ValueError: its id waits already.
        """
        if waiting.id in self._by_id:
            raise ValueError(f"request {waiting.id} waits already")
        self._by_id[waiting.id] = waiting
        level = self._levels.setdefault(waiting.priority, _Level())
        insort(level.lanes.setdefault(waiting.fairness_key, _Lane()).waiting, waiting, key=_by_arrival)
        if waiting.deadline is not None:
            heapq.heappush(self._deadlines, (waiting.deadline, waiting.id))
            self._drop_old_deadlines()

    def remove(self, request_id: int) -> Waiting | None:
        """Take a request out without charging its key; None if it does not wait."""
        waiting = self._by_id.pop(request_id, None)
        if waiting is not None:
            level = self._levels[waiting.priority]
            lane = level.lanes[waiting.fairness_key].waiting
            del lane[bisect_left(lane, _by_arrival(waiting), key=_by_arrival)]
            if not lane:
                del level.lanes[waiting.fairness_key]
            if not level.lanes:
                # Where nobody waits, nobody is owed anything.
                del self._levels[waiting.priority]
        return waiting

    def expired(self, now: float) -> list[Waiting]:
        """Take out and return those whose deadline has come, the earliest first."""
        gone: list[Waiting] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, request_id = heapq.heappop(self._deadlines)
            waiting = self._by_id.get(request_id)
            # The others were admitted or cancelled before.
            if waiting is not None and waiting.deadline == deadline:
                self.remove(request_id)
                gone.append(waiting)
        return gone

    def candidates(self, now: float) -> Iterator[Waiting]:
        """Everybody in the order of admission, as if each were admitted in turn.

        Requests may be admitted and removed meanwhile; what was added meanwhile may be left out.
        """
        self._now = max(self._now, now)
        return self._walk(now)

    def admitted(self, request_id: int, cost: int | None = None) -> None:
        """A request got its turn: it is taken out, and its key is charged with its cost.

        Args:
            cost: what the turn takes, where that is not what was expected of it.

        Raises:
            KeyError: it does not wait.
        """
        waiting = self._by_id[request_id]
        key = waiting.fairness_key
        lane = self._levels[waiting.priority].lanes[key]
        raised = lane.promotion(self._now, self._age_seconds) if lane.waiting[0] is waiting else 0
        for priority in {waiting.priority, waiting.priority + raised}:
            if level := self._levels.get(priority):
                level.share.charge(key, waiting.cost if cost is None else cost, level.lanes.keys())
        lane.served = self._now
        self.remove(request_id)

    def _drop_old_deadlines(self) -> None:
        """Requests that left in time leave their deadline behind: it goes when it is one of many."""
        if len(self._deadlines) > 2 * len(self._by_id) + 64:
            here = self._by_id.values()
            self._deadlines = [(each.deadline, each.id) for each in here if each.deadline is not None]
            heapq.heapify(self._deadlines)

    def _walk(self, now: float) -> Iterator[Waiting]:
        raised = self._raised(now)
        heads = {waiting.id for group in raised.values() for waiting in group}
        for priority in sorted({*self._levels, *raised}, reverse=True):
            level = self._levels.get(priority, _Level())
            queues = {key: _Queue.of(level, key, lane, heads) for key, lane in level.lanes.items()}
            for waiting in raised.get(priority, ()):
                nothing = _Queue(level.share.start(waiting.fairness_key), [])
                queue = queues.setdefault(waiting.fairness_key, nothing)
                insort(queue.waiting, waiting, key=_by_arrival)
            for waiting in _in_turn(queues.values()):
                if waiting.id in self._by_id:
                    yield waiting

    def _raised(self, now: float) -> dict[int, list[Waiting]]:
        """The heads of lanes that rose, by the priority that they have now."""
        raised: dict[int, list[Waiting]] = {}
        for priority, level in self._levels.items():
            for lane in level.lanes.values():
                if promotion := lane.promotion(now, self._age_seconds):
                    raised.setdefault(priority + promotion, []).append(lane.waiting[0])
        return raised


@dataclass(slots=True)
class _Queue:
    """What one key has to offer in one priority, and the virtual time at which it begins."""

    start: float
    waiting: list[Waiting]

    @classmethod
    def of(cls, level: _Level, key: str, lane: _Lane, raised: set[int]) -> _Queue:
        head, start = lane.waiting[0], level.share.start(key)
        return cls(start + head.cost, lane.waiting[1:]) if head.id in raised else cls(start, lane.waiting[:])


def _in_turn(queues: Iterable[_Queue]) -> Iterator[Waiting]:
    heap = [(q.start, q.waiting[0].arrived, q.waiting[0].id, 0, q.waiting) for q in queues if q.waiting]
    heapq.heapify(heap)
    while heap:
        tag, _, _, index, waiting = heap[0]
        yield waiting[index]
        tag += waiting[index].cost
        index += 1
        if index < len(waiting):
            heapq.heapreplace(heap, (tag, waiting[index].arrived, waiting[index].id, index, waiting))
        else:
            heapq.heappop(heap)


def _by_arrival(waiting: Waiting) -> tuple[float, int]:
    return waiting.arrived, waiting.id
