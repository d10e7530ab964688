"""Places, and when to come back if there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.errors import Overloaded
from ai_core.inference.tickets import ServiceRate, Tickets, retry_after


def test_all_places_can_be_taken_and_no_more() -> None:
    tickets = Tickets(running=2, waiting=3)
    for _ in range(5):
        tickets.take(0.0)
    with pytest.raises(Overloaded) as caught:
        tickets.take(0.0)
    assert caught.value.retry_after == 5.0
    tickets.give_back()
    tickets.take(0.0)


def test_the_wait_follows_how_fast_requests_were_served_lately() -> None:
    tickets = Tickets(running=4, waiting=0)
    for number in range(20):
        tickets.note_served(number * 0.5)
    for _ in range(4):
        tickets.take(10.0)
    with pytest.raises(Overloaded) as caught:
        tickets.take(10.0)
    # 2 per second, 4 side by side.
    assert caught.value.retry_after == pytest.approx(2.0, rel=0.1)


def test_an_old_rate_counts_no_more() -> None:
    rate = ServiceRate()
    for number in range(100):
        rate.note(number * 0.01)
    assert rate.per_second(1.0) > 50
    assert rate.per_second(100.0) == 0


@given(st.floats(0, 1e6), st.integers(1, 128))
def test_the_wait_is_between_a_second_and_a_minute(per_second: float, side_by_side: int) -> None:
    assert 1 <= retry_after(per_second, side_by_side) <= 60


@given(st.floats(0.001, 1e3), st.floats(0.001, 1e3), st.integers(1, 128))
def test_a_faster_server_asks_for_no_longer_a_wait(one: float, other: float, side_by_side: int) -> None:
    slow, fast = sorted((one, other))
    assert retry_after(fast, side_by_side) <= retry_after(slow, side_by_side)


@given(st.lists(st.floats(0, 1_000), min_size=1, max_size=300), st.floats(0, 100))
def test_a_rate_is_never_negative_or_endless(times: list[float], later: float) -> None:
    rate = ServiceRate()
    for time in sorted(times):
        rate.note(time)
    assert 0 <= rate.per_second(max(times) + later) <= 256_000
