from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ai_core.engine.order import Order, Waiting

AGE = 30.0
_ids = itertools.count()


def request(
    number: int,
    *,
    key: str = "",
    priority: int = 0,
    arrived: float = 0.0,
    deadline: float | None = None,
    cost: int = 100,
) -> Waiting:
    return Waiting(number, priority, key, arrived, deadline, cost)


def order_of(*requests: Waiting) -> Order:
    order = Order(AGE)
    for each in requests:
        order.add(each)
    return order


def ids(order: Order, now: float = 0.0) -> list[int]:
    return [waiting.id for waiting in order.candidates(now)]


def admit_one(order: Order, now: float = 0.0) -> Waiting:
    first = next(order.candidates(now))
    order.admitted(first.id)
    return first


def test_within_a_key_the_first_to_arrive_goes_first() -> None:
    order = order_of(request(1, arrived=2.0), request(2, arrived=1.0), request(3, arrived=3.0))
    assert ids(order, 3.0) == [2, 1, 3]


def test_higher_priorities_go_first() -> None:
    order = order_of(request(1, priority=-1), request(2), request(3, priority=5))
    assert ids(order) == [3, 2, 1]


def test_one_request_does_not_wait_behind_the_hundred_of_another_key() -> None:
    flood = [request(number, key="flood", arrived=number / 100) for number in range(100)]
    order = order_of(*flood, request(100, key="single", arrived=1.0))
    assert ids(order, 1.0).index(100) == 1


def test_requests_without_a_key_share_one_turn() -> None:
    order = order_of(*(request(number, arrived=number / 100) for number in range(10)), request(10, key="a"))
    assert ids(order, 1.0)[:3] == [0, 10, 1]


def test_keys_take_turns_by_cost_not_by_number() -> None:
    large = [request(number, key="large", cost=400) for number in range(2)]
    small = [request(number, key="small", cost=100) for number in range(10, 18)]
    order = order_of(*large, *small)
    assert ids(order) == [0, 10, 11, 12, 13, 1, 14, 15, 16, 17]


def test_a_key_that_was_idle_gets_no_credit_for_the_past() -> None:
    order = order_of(*(request(number, key="busy") for number in range(20)))
    for _ in range(10):
        admit_one(order)
    for number in range(100, 110):
        order.add(request(number, key="late", arrived=1.0))
    turns = Counter("late" if number >= 100 else "busy" for number in ids(order, 1.0)[:6])
    assert turns == {"late": 3, "busy": 3}


def test_a_key_that_just_had_its_turn_does_not_go_before_those_who_wait() -> None:
    order = order_of(request(1, key="a"), request(2, key="b"), request(3, key="c"))
    assert admit_one(order).id == 1
    order.add(request(4, key="a", arrived=0.5))
    assert ids(order, 1.0) == [2, 3, 4]


def test_a_request_passed_over_keeps_its_turn() -> None:
    order = order_of(request(1, key="a"), *(request(number, key="b") for number in range(10, 20)))
    for number in range(10, 15):
        order.admitted(number)
    assert ids(order)[0] == 1


def test_a_key_passed_over_catches_up() -> None:
    order = order_of(
        *(request(number, key="a") for number in range(10)), *(request(n, key="b") for n in range(10, 20))
    )
    for number in range(10, 15):
        order.admitted(number)
    assert ids(order)[:7] == [0, 1, 2, 3, 4, 5, 15]


def test_being_admitted_out_of_turn_does_not_hold_up_newcomers() -> None:
    order = order_of(
        *(request(number, key="a") for number in range(10)), *(request(n, key="b") for n in range(10, 20))
    )
    for number in range(10, 18):
        order.admitted(number)
    order.add(request(30, key="new", arrived=1.0))
    assert ids(order, 1.0)[:2] == [0, 30]


def test_a_cancelled_request_costs_its_key_nothing() -> None:
    order = order_of(request(1, key="a", cost=9000), request(2, key="a"), request(3, key="b", arrived=1.0))
    assert order.remove(1) == request(1, key="a", cost=9000)
    assert ids(order, 1.0) == [2, 3]


def test_removing_somebody_unknown_gives_none() -> None:
    assert Order().remove(1) is None


def test_admitting_somebody_unknown_is_an_error() -> None:
    with pytest.raises(KeyError):
        Order().admitted(1)


def test_an_id_waits_only_once() -> None:
    order = order_of(request(1))
    with pytest.raises(ValueError, match="waits already"):
        order.add(request(1))


def test_an_age_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Order(0.0)


def test_those_past_their_deadline_leave_the_earliest_first() -> None:
    order = order_of(request(1, deadline=5.0), request(2, deadline=3.0), request(3, deadline=9.0), request(4))
    assert order.expired(2.9) == []
    assert [waiting.id for waiting in order.expired(5.0)] == [2, 1]
    assert ids(order, 5.0) == [3, 4]


def test_a_deadline_of_somebody_who_left_concerns_nobody() -> None:
    order = order_of(request(1, deadline=1.0))
    order.admitted(1)
    order.add(request(1, deadline=7.0))
    assert order.expired(2.0) == []
    assert len(order) == 1


def test_many_who_leave_in_time_do_not_hide_a_later_deadline() -> None:
    order = order_of(request(0, deadline=50.0))
    for number in range(1, 500):
        order.add(request(number, deadline=1000.0))
        order.remove(number)
    assert [waiting.id for waiting in order.expired(60.0)] == [0]


def test_whoever_waits_long_rises_in_priority() -> None:
    order = order_of(request(1), request(2, priority=1, key="x", arrived=AGE - 1.0))
    assert ids(order, AGE - 0.1) == [2, 1]
    assert ids(order, AGE) == [1, 2]


def test_whoever_waits_twice_as_long_rises_by_two() -> None:
    order = order_of(request(1), request(2, priority=2, key="x", arrived=2 * AGE))
    assert ids(order, 2 * AGE - 0.1) == [2, 1]
    assert ids(order, 2 * AGE) == [1, 2]


def test_a_turn_had_by_rising_counts_as_a_turn_among_those_it_rose_to() -> None:
    urgent = [request(2, priority=1, key="a", arrived=30.0), request(3, priority=1, key="b", arrived=31.0)]
    order = order_of(request(1, key="a"), *urgent)
    assert ids(order, 31.0) == [1, 3, 2]
    assert admit_one(order, 31.0).id == 1
    assert ids(order, 31.0) == [3, 2]


def test_debts_are_forgotten_when_nobody_waits() -> None:
    order = order_of(request(1, key="a", cost=9000))
    admit_one(order)
    order.add(request(2, key="a", arrived=1.0))
    order.add(request(3, key="b", arrived=2.0))
    assert ids(order, 2.0) == [2, 3]


def test_nobody_starves_under_a_steady_stream_of_higher_priority() -> None:
    order = order_of(*(request(number, arrived=number / 10) for number in range(3)))
    low: list[float] = []
    for second in range(200):
        order.add(request(1000 + second, priority=1, key="urgent", arrived=float(second)))
        if admit_one(order, float(second)).priority == 0:
            low.append(second)
    assert low == [30, 60, 90]


def test_a_flood_does_not_lift_itself_above_others_by_waiting() -> None:
    order = order_of(*(request(number, key="flood") for number in range(100)))
    order.add(request(500, key="b", arrived=100.0))
    order.add(request(501, key="c", priority=1, arrived=100.0))
    assert ids(order, 100.0)[:3] == [0, 501, 500]


def test_a_request_that_leaves_during_the_walk_is_not_offered_any_more() -> None:
    order = order_of(request(1, key="a"), request(2, key="b"), request(3, key="c", priority=-1))
    seen = []
    for waiting in order.candidates(0.0):
        seen.append(waiting.id)
        order.admitted(waiting.id)
        order.remove(2)
    assert seen == [1, 3]
    assert len(order) == 0


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "c"]), st.integers(-1, 2), st.integers(0, 100), st.integers(1, 500)
    ),
    max_size=40,
)


def waiting_of(drawn: list[tuple[str, int, int, int]]) -> list[Waiting]:
    return [
        request(number, key=key, priority=priority, arrived=float(arrived), cost=cost)
        for number, (key, priority, arrived, cost) in enumerate(drawn)
    ]


@given(REQUESTS, st.integers(0, 300))
def test_looking_at_the_candidates_changes_nothing_and_shows_everybody_once(
    drawn: list[tuple[str, int, int, int]], now: int
) -> None:
    order = order_of(*waiting_of(drawn))
    first = ids(order, now)
    assert sorted(first) == list(range(len(drawn)))
    assert ids(order, now) == first


@given(REQUESTS)
def test_priorities_are_respected_while_nobody_has_waited_long(
    drawn: list[tuple[str, int, int, int]],
) -> None:
    order = order_of(*waiting_of(drawn))
    priorities = [waiting.priority for waiting in order.candidates(0.0)]
    assert priorities == sorted(priorities, reverse=True)


@given(REQUESTS)
def test_admitting_one_by_one_follows_the_order_shown_before(drawn: list[tuple[str, int, int, int]]) -> None:
    order = order_of(*waiting_of(drawn))
    shown = ids(order)
    assert [admit_one(order).id for _ in shown] == shown


@given(REQUESTS, st.integers(0, 300))
def test_the_order_shown_holds_for_those_who_waited_long_too(
    drawn: list[tuple[str, int, int, int]], now: int
) -> None:
    order = order_of(*waiting_of([(key, 0, arrived, cost) for key, _, arrived, cost in drawn]))
    shown = ids(order, now)
    assert [admit_one(order, now).id for _ in shown] == shown


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=40),
    st.lists(st.integers(1, 100), min_size=1, max_size=40),
    st.integers(0, 20),
)
def test_two_backlogged_keys_are_served_alike(mine: list[int], yours: list[int], head_start: int) -> None:
    order = order_of(*(request(number, key="mine", cost=cost) for number, cost in enumerate(mine)))
    for _ in range(min(head_start, len(mine) - 1)):
        admit_one(order)
    for number, cost in enumerate(yours):
        order.add(request(1000 + number, key="yours", cost=cost))
    served, left = Counter[str](), Counter(waiting.fairness_key for waiting in order.candidates(0.0))
    while left["mine"] and left["yours"]:
        admitted = admit_one(order)
        served[admitted.fairness_key] += admitted.cost
        left[admitted.fairness_key] -= 1
        assert abs(served["mine"] - served["yours"]) <= 2 * 100


class ManyComeAndGo(RuleBasedStateMachine):
    """Whatever happens, in any order: nobody is lost, nobody is there twice, a newcomer's turn comes."""

    def __init__(self) -> None:
        super().__init__()
        self.order = Order(AGE)
        self.present: dict[int, Waiting] = {}
        self.now = 0.0

    @rule(
        key=st.sampled_from(["", "a", "b"]),
        priority=st.integers(-1, 2),
        cost=st.integers(1, 50),
        timeout=st.none() | st.integers(0, 90),
    )
    def arrives(self, key: str, priority: int, cost: int, timeout: int | None) -> None:
        deadline = None if timeout is None else self.now + timeout
        new = request(next(_ids), key=key, priority=priority, arrived=self.now, deadline=deadline, cost=cost)
        self.order.add(new)
        self.present[new.id] = new

    @rule(seconds=st.floats(0, 70))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        gone = {waiting.id for waiting in self.order.expired(self.now)}
        late = {each.id for each in self.present.values() if (each.deadline or 1e9) <= self.now}
        late |= {each.id for each in self.present.values() if each.deadline == 0.0}
        assert gone == late
        for request_id in gone:
            del self.present[request_id]

    @rule(place=st.integers(0, 5), cancelled=st.booleans())
    def leaves(self, place: int, cancelled: bool) -> None:
        for waiting in itertools.islice(self.order.candidates(self.now), place, place + 1):
            del self.present[waiting.id]
            if cancelled:
                assert self.order.remove(waiting.id) is waiting
            else:
                self.order.admitted(waiting.id)

    @invariant()
    def everybody_is_there_once(self) -> None:
        assert len(self.order) == len(self.present)
        assert sorted(ids(self.order, self.now)) == sorted(self.present)


TestManyComeAndGo = ManyComeAndGo.TestCase
