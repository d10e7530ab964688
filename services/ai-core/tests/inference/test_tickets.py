"""Places, and when to come back if there is none."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.errors import Overloaded
from ai_core.inference.appointments import RETRY_RANGE, Appointments
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
    asked: list[tuple[float, int]], speed: float
) -> None:
    rate, appointments = Throughput(1), Appointments()
    rate.advance(0.0, 1)
    rate.advance(1 / speed, 1)
    rate.ended()
    now = 0.0
    for later, who in asked:
        now += later
        appointments.arrived(who, now)
        wait = appointments.make(who, now, rate)
        assert RETRY_RANGE[0] <= wait <= RETRY_RANGE[1]
        assert wait == int(wait)
        assert 0 <= appointments.returning <= 1


@dataclass
class Caller:
    """Somebody with one request."""

    number: int
    returns: bool
    refused_at: float | None = None
    told: float = 0.0
    attempts: int = 0


@dataclass
class World:
    """A model with eight requests side by side and eight that wait, each taking about two seconds of its
    own; time passes only here."""

    side_by_side: int = 8
    seconds: float = 2.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - a game
    running: int = 0
    queue: list[tuple[float, Ticket]] = field(default_factory=list)
    events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    returned: list[Caller] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tickets = Tickets(self.side_by_side, self.side_by_side)
        self._order = itertools.count()

    @property
    def capacity(self) -> float:
        """Requests per second."""
        return self.side_by_side / self.seconds

    def at(self, time: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (time, next(self._order), what))

    def load(self, times: float, seconds: float, returning: float = 0.0) -> World:
        """So many times what can be served arrives, for so long; then all is played to its end."""
        now = 0.0
        for number in itertools.count():
            now += self.chance.expovariate(times * self.capacity)
            if now > seconds:
                break
            caller = Caller(number, self.chance.random() < returning)
            self.at(now, lambda now, caller=caller: self.arrive(caller, now))  # type: ignore[misc]
        while self.events:
            now, _, what = heapq.heappop(self.events)
            what(now)
        return self

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
                self.at(now + wait, lambda now: self.arrive(caller, now))
            return
        if caller.refused_at is not None:
            caller.refused_at = now - caller.refused_at
            self.returned.append(caller)
        self.queue.append((now, ticket))
        self.begin(now)

    def begin(self, now: float) -> None:
        while self.queue and self.running < self.side_by_side:
            self.running += 1
            arrived, ticket = self.queue.pop(0)
            done = now + self.seconds * self.chance.uniform(0.7, 1.3)
            self.at(done, lambda now, a=arrived, t=ticket: self.end(a, t, now))  # type: ignore[misc]

    def end(self, arrived: float, ticket: Ticket, now: float) -> None:
        self.running -= 1
        self.latencies.append(now - arrived)
        self.tickets.give_back(ticket, now, served=True)
        self.begin(now)


class TestOverload:
    def test_at_three_times_the_load_those_who_are_admitted_hardly_notice(self) -> None:
        full = World().load(1.0, 300)
        over = World().load(3.0, 300)
        assert median(over.latencies) <= 1.5 * median(full.latencies)
        assert len(over.latencies) == pytest.approx(300 * over.capacity, rel=0.1)
        assert len(over.refusals) == pytest.approx(2 * 300 * over.capacity, rel=0.1)

    def test_those_who_come_back_when_told_wait_about_as_long_as_they_were_told_first(self) -> None:
        world = World().load(3.0, 20, returning=1.0)
        assert len(world.returned) > 100
        ratios = [(caller.refused_at or 0) / caller.told for caller in world.returned]
        assert 0.5 <= median(ratios) <= 2
        assert sum(0.5 <= ratio <= 2 for ratio in ratios) / len(ratios) > 0.6
        assert sum(caller.attempts - 1 for caller in world.returned) / len(world.returned) < 2

    def test_where_nobody_comes_back_nobody_is_waited_for(self) -> None:
        world = World().load(3.0, 60)
        # A place becomes free every quarter of a second, and no header says less than a second.
        assert median(world.refusals[len(world.refusals) // 2 :]) == 1

    def test_a_burst_is_spread_over_the_time_that_it_takes(self) -> None:
        world = World()
        world.load(0.3, 30)
        for number in range(40):
            caller = Caller(10_000 + number, returns=True)
            world.at(1000.0, lambda now, caller=caller: world.arrive(caller, now))  # type: ignore[misc]
        world.load(0.001, 0.001)
        burst = [caller for caller in world.returned if caller.number >= 10_000]
        assert len(burst) == 40 - 16
        assert [caller.attempts for caller in burst].count(2) >= 20
        assert max(caller.told for caller in burst) == pytest.approx(24 / world.capacity, rel=0.5)
