"""Places, and when to come back if there is none."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_core.errors import Overloaded
from ai_core.inference.appointments import KEPT_PART, KEPT_SECONDS, RETRY_RANGE, Appointments
from ai_core.inference.throughput import Throughput
from ai_core.inference.tickets import Ticket, Tickets


def take(tickets: Tickets, now: float = 0.0, key: str = "one", who: int = 0) -> Ticket:
    return tickets.take(now, key, lambda: who)


def refused(tickets: Tickets, now: float = 0.0, key: str = "one", who: int = 0) -> Overloaded:
    with pytest.raises(Overloaded) as caught:
        take(tickets, now, key, who)
    assert caught.value.retry_after is not None
    return caught.value


class TestPlaces:
    def test_all_can_be_taken_and_no_more(self) -> None:
        tickets = Tickets(running=2, waiting=3)
        first, *_ = [take(tickets, key=f"key {number}") for number in range(5)]
        assert "All 5 places for this model are taken" in refused(tickets, key="another").message
        tickets.give_back(first, 0.0, served=True)
        take(tickets)

    def test_one_key_cannot_take_those_that_are_kept_for_others(self) -> None:
        tickets = Tickets(running=2, waiting=4, waiting_per_key=1)
        mine = [take(tickets, key="greedy") for _ in range(3)]
        assert "All 3 places that one API key may have" in refused(tickets, key="greedy").message
        for _ in range(3):
            take(tickets, key="modest")
        assert "All 6 places for this model" in refused(tickets, key="third").message
        tickets.give_back(mine[0], 0.0, served=True)
        take(tickets, key="third")
        assert tickets.taken == 6

    def test_without_waiting_places_those_that_run_are_left(self) -> None:
        assert Tickets(running=2, waiting=0, waiting_per_key=100).places_per_key == 2

    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
    def test_no_key_and_no_model_ever_has_more_than_its_places(self, uses: list[tuple[bool, str]]) -> None:
        tickets = Tickets(running=2, waiting=4, waiting_per_key=1)
        held: list[Ticket] = []
        for enters, key in uses:
            mine = [ticket for ticket in held if ticket.key_id == key]
            if enters:
                fits = len(mine) < 3 and len(held) < 6
                try:
                    held.append(take(tickets, key=key))
                except Overloaded:
                    assert not fits
                else:
                    assert fits
            elif mine:
                held.remove(mine[0])
                tickets.give_back(mine[0], 0.0, served=False)
            assert tickets.taken == len(held)

    def test_the_request_is_looked_at_only_when_room_is_scarce(self) -> None:
        def never() -> int:
            raise AssertionError

        tickets = Tickets(running=1, waiting=0)
        ticket = tickets.take(0.0, "one", never)
        tickets.give_back(ticket, 1.0, served=True)
        tickets.take(1.0, "two", never)


class TestThroughput:
    def test_work_counts_and_idleness_does_not(self) -> None:
        rate = Throughput(side_by_side=4)
        now = 0.0
        for _ in range(10):
            rate.advance(now, 0)
            now += 2.0
            rate.advance(now, 1)
            rate.ended()
            now += 3600.0
        # One takes two seconds; four of them side by side end at two per second.
        assert rate.per_second() == pytest.approx(2.0)

    def test_those_that_wait_do_not_slow_it_down(self) -> None:
        rate = Throughput(side_by_side=4)
        for second in range(100):
            rate.advance(float(second), 50)
            rate.ended()
        assert rate.per_second() == pytest.approx(1.0, rel=0.02)

    def test_it_follows_when_requests_take_longer(self) -> None:
        rate = Throughput(side_by_side=1)
        now = 0.0
        for seconds in [0.1] * 3000 + [1.0] * 600:
            rate.advance(now, 1)
            now += seconds
            rate.advance(now, 1)
            rate.ended()
        assert rate.per_second() == pytest.approx(1.0, rel=0.1)

    def test_nothing_is_known_at_first(self) -> None:
        assert Throughput(1).per_second() is None


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 9)), max_size=50), st.floats(1e-6, 1e6))
def test_the_wait_is_whole_seconds_between_one_and_sixty(
    asked: list[tuple[float, int]], per_second: float
) -> None:
    appointments = Appointments()
    now = 0.0
    for later, who in asked:
        now += later
        before = appointments.arrived(who, now)
        wait = appointments.wait(before, now, 1, per_second)
        appointments.make(who, now, wait, before)
        assert RETRY_RANGE[0] <= wait <= RETRY_RANGE[1]
        assert wait == int(wait)
        assert 0 <= appointments.returning <= 1


class TestAppointments:
    def test_a_place_is_kept_for_who_was_told_to_come(self) -> None:
        tickets = busy(Tickets(running=1, waiting=0))
        wait = refused(tickets, 10.0, who=1).retry_after or 0.0
        tickets.give_back(Ticket("one"), 10.0 + wait - 0.1, served=True)
        assert "kept for others" in refused(tickets, 10.0 + wait - 0.1, who=2).message
        take(tickets, 10.0 + wait, who=1)

    def test_it_is_kept_for_a_bounded_time(self) -> None:
        tickets = busy(Tickets(running=1, waiting=0))
        wait = refused(tickets, 10.0, who=1).retry_after or 0.0
        tickets.give_back(Ticket("one"), 10.0 + wait, served=True)
        take(tickets, 10.0 + wait * (1 + KEPT_PART) + KEPT_SECONDS + 0.1, who=2)

    def test_the_same_request_of_two_callers_has_two_appointments(self) -> None:
        tickets = busy(Tickets(running=1, waiting=0))
        waits = [refused(tickets, 10.0, who=7).retry_after or 0.0 for _ in range(2)]
        assert waits[1] >= waits[0]

    def test_who_comes_early_is_told_the_rest_of_their_time(self) -> None:
        tickets = busy(Tickets(running=1, waiting=0), seconds=5.0)
        wait = refused(tickets, 10.0, who=1).retry_after or 0.0
        assert wait > 3
        assert refused(tickets, 12.0, who=1).retry_after == wait - 2

    def test_what_a_key_could_not_use_is_not_kept_from_others(self) -> None:
        tickets = Tickets(running=2, waiting=2, waiting_per_key=1)
        held = [take(tickets, 0.0, key="greedy", who=number) for number in range(3)]
        tickets.give_back(held.pop(), 1.0, served=True)
        held.append(take(tickets, 1.0, key="greedy", who=3))
        other = take(tickets, 1.0, key="modest", who=4)
        for number in range(20):
            refused(tickets, 1.1, key="greedy", who=100 + number)
        tickets.give_back(other, 1.2, served=True)
        take(tickets, 1.9, key="modest", who=5)


def busy(tickets: Tickets, seconds: float = 1.0) -> Tickets:
    """With all places taken at ten seconds, and known to serve one in so many."""
    tickets.give_back(take(tickets, 10.0 - seconds, who=99), 10.0, served=True)
    for number in range(tickets.places):
        take(tickets, 10.0, who=number + 1_000)
    return tickets


@dataclass
class Caller:
    """Somebody with one request. Times in seconds."""

    number: int
    returns: bool
    attempts: int = 0
    refused_at: float | None = None
    told: float = 0.0
    """At the first refusal."""
    waited: float | None = None
    """From the first refusal to the attempt that was admitted."""

    @property
    def was_told_the_truth(self) -> bool:
        """Within a factor of two."""
        assert self.waited is not None
        return self.told / 2 <= self.waited <= self.told * 2


@dataclass
class World:
    """A model with so many requests side by side and so many that wait; time passes only here."""

    side_by_side: int = 8
    waiting: int = 8
    seconds: float = 2.0
    """What one request takes when all are worked on side by side, on average."""
    uneven: bool = False
    """Lengths of answers are spread as waiting times are (exponentially), and not by 30 %."""
    alone_faster: float = 1.0
    """So many times faster is a request that begins when nobody else is there."""
    lateness: float = 0.05
    """Callers come back up to so much later than told."""
    seed: int = 1
    now: float = 0.0
    running: int = 0
    queue: list[tuple[float, Ticket]] = field(default_factory=list)
    events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    returned: list[Caller] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tickets = Tickets(self.side_by_side, self.waiting)
        self.chance = random.Random(self.seed)  # noqa: S311 - a game
        self._order = itertools.count()
        self._numbers = itertools.count()

    @property
    def capacity(self) -> float:
        """Requests per second."""
        return self.side_by_side / self.seconds

    def at(self, time: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (time, next(self._order), what))

    def load(self, times: float, seconds: float, returning: float = 0.0) -> World:
        """So many times what can be served arrives, for so long from now on."""
        arrival, end = self.now, self.now + seconds
        while (arrival := arrival + self.chance.expovariate(times * self.capacity)) < end:
            self.come(arrival, returns=self.chance.random() < returning)
        self.play(end)
        self.now = end
        return self

    def come(self, time: float, *, returns: bool) -> None:
        caller = Caller(next(self._numbers), returns)
        self.at(time, lambda now: self.arrive(caller, now))

    def play(self, end: float = float("inf")) -> World:
        while self.events and self.events[0][0] <= end:
            self.now, _, what = heapq.heappop(self.events)
            what(self.now)
        return self

    def served_between(self, begin: float, end: float) -> float:
        """Of what could be served."""
        return sum(begin <= time < end for time in self.ended) / ((end - begin) * self.capacity)

    def arrive(self, caller: Caller, now: float) -> None:
        caller.attempts += 1
        try:
            ticket = self.tickets.take(now, "key", lambda: caller.number)
        except Overloaded as error:
            wait = error.retry_after or 0.0
            self.refusals.append(wait)
            if caller.refused_at is None:
                caller.refused_at, caller.told = now, wait
            if caller.returns:
                late = self.chance.uniform(0, self.lateness)
                self.at(now + wait + late, lambda now: self.arrive(caller, now))
            return
        if caller.refused_at is not None:
            caller.waited = now - caller.refused_at
            self.returned.append(caller)
        self.queue.append((now, ticket))
        self.begin(now)

    def begin(self, now: float) -> None:
        while self.queue and self.running < self.side_by_side:
            arrived, ticket = self.queue.pop(0)
            done = now + self._length() / (1.0 if self.running else self.alone_faster)
            self.running += 1
            self.at(done, lambda now, a=arrived, t=ticket: self.end(a, t, now))  # type: ignore[misc]

    def end(self, arrived: float, ticket: Ticket, now: float) -> None:
        self.running -= 1
        self.ended.append(now)
        self.latencies.append(now - arrived)
        self.tickets.give_back(ticket, now, served=True)
        self.begin(now)

    def _length(self) -> float:
        if self.uneven:
            return self.seconds * self.chance.expovariate(1.0)
        return self.seconds * self.chance.uniform(0.7, 1.3)


SEEDS = range(8)
WORLDS = {
    "short queue": lambda seed: World(waiting=2, seconds=4.0, seed=seed),
    "queue as long as what runs": lambda seed: World(seed=seed),
    "one at a time": lambda seed: World(1, 2, 1.0, seed=seed),
    "answers of very unlike length": lambda seed: World(waiting=2, seconds=4.0, uneven=True, seed=seed),
    "quick answers of unlike length": lambda seed: World(seconds=0.8, uneven=True, seed=seed),
    "alone, requests are three times faster": lambda seed: World(alone_faster=3.0, seed=seed),
    "half a second late": lambda seed: World(lateness=0.5, seed=seed),
}
"""Ways in which a model may be used."""


class TestOverload:
    def test_at_three_times_the_load_those_who_are_admitted_hardly_notice(self) -> None:
        full = World().load(1.0, 300).play()
        over = World().load(3.0, 300).play()
        assert median(over.latencies) <= 1.5 * median(full.latencies)
        assert len(over.latencies) == pytest.approx(300 * over.capacity, rel=0.1)
        assert len(over.refusals) == pytest.approx(2 * 300 * over.capacity, rel=0.1)

    @pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())
    @pytest.mark.parametrize("returning", [0.1, 0.5, 1.0])
    def test_nine_in_ten_who_come_back_when_told_were_told_the_truth(
        self, world: Callable[[int], World], returning: float
    ) -> None:
        """``Retry-After`` is true within a factor of two: they get in between half and twice the time that
        the first one said."""
        returned = [
            caller
            for seed in SEEDS
            for caller in world(seed).load(1.0, 60, returning).load(3.0, 20, returning).play().returned
        ]
        assert len(returned) > 20
        assert sum(caller.was_told_the_truth for caller in returned) / len(returned) >= 0.9
        assert sum(caller.attempts - 1 for caller in returned) / len(returned) < 1.6

    def test_that_is_so_as_well_when_callers_change_who_never_came_back_before(self) -> None:
        returned = []
        for seed in SEEDS:
            world = World(waiting=2, seconds=4.0, seed=seed).load(3.0, 60, returning=0.0)
            returned += world.load(3.0, 20, returning=1.0).play().returned
        assert sum(caller.was_told_the_truth for caller in returned) / len(returned) >= 0.9

    @pytest.mark.parametrize("returning", [0.0, 0.1, 0.5, 1.0])
    def test_keeping_places_leaves_hardly_any_empty(self, returning: float) -> None:
        """So nobody was told to wait for long without need: somebody else was there all the time."""
        served = []
        for seed in SEEDS:
            world = World(waiting=2, seconds=4.0, seed=seed).load(1.0, 60, returning)
            world.load(3.0, 60, returning)
            served.append(world.served_between(60, 120))
        assert sum(served) / len(served) > 0.9

    def test_where_nobody_comes_back_nobody_is_waited_for(self) -> None:
        world = World().load(3.0, 60).play()
        # A place becomes free every quarter of a second, and no header says less than a second.
        assert median(world.refusals[len(world.refusals) // 2 :]) == 1

    def test_a_burst_is_spread_over_the_time_that_it_takes(self) -> None:
        world = World().load(0.3, 30).play()
        known = len(world.returned)
        for _ in range(40):
            world.come(1000.0, returns=True)
        world.play()
        burst = world.returned[known:]
        assert len(burst) == 40 - 16
        assert [caller.attempts for caller in burst].count(2) >= 20
        assert max(caller.told for caller in burst) == pytest.approx(24 / world.capacity, rel=0.5)

    @given(
        st.integers(1, 16),
        st.integers(0, 16),
        st.floats(0.1, 20.0),
        st.floats(0.5, 10.0),
        st.floats(0.0, 1.0),
        st.booleans(),
        st.integers(0, 1_000_000),
    )
    @settings(max_examples=25, deadline=None)
    def test_whatever_comes_everybody_who_comes_back_gets_in_at_last(
        self,
        side_by_side: int,
        waiting: int,
        seconds: float,
        times: float,
        returning: float,
        uneven: bool,
        seed: int,
    ) -> None:
        world = World(side_by_side, waiting, seconds, uneven=uneven, seed=seed)
        world.load(times, 40 / world.capacity, returning).play()
        assert not world.tickets.taken
        assert all(RETRY_RANGE[0] <= told <= RETRY_RANGE[1] for told in world.refusals)
