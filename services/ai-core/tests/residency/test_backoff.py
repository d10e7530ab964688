"""When an engine that ended is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_core.residency.backoff import Backoff, Park, Restart, RestartPolicy


def test_the_first_restart_is_immediate_and_later_ones_wait_longer() -> None:
    backoff = Backoff(RestartPolicy(park_after=100))
    delays = [backoff.ended(now, served=0.0) for now in range(10)]
    assert delays == [Restart(d) for d in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0)]


def test_an_engine_that_served_a_while_begins_with_the_first_delay_again() -> None:
    backoff = Backoff()
    backoff.ended(0.0, served=0.0)
    backoff.ended(1.0, served=0.0)
    assert backoff.ended(100.0, served=60.0) == Restart(0.0)


def test_the_fifth_end_within_five_minutes_parks_the_model() -> None:
    backoff = Backoff()
    plans = [backoff.ended(now, served=0.0) for now in (0.0, 70.0, 140.0, 210.0, 280.0)]
    assert [isinstance(plan, Park) for plan in plans] == [False, False, False, False, True]
    assert plans[-1] == Park(until=340.0)


def test_ends_that_are_five_minutes_ago_are_forgotten() -> None:
    backoff = Backoff()
    plans = [backoff.ended(now, served=70.0) for now in (0.0, 75.0, 150.0, 225.0, 300.0)]
    assert all(isinstance(plan, Restart) for plan in plans)


def test_the_try_after_the_cool_down_parks_again_if_it_fails_too() -> None:
    backoff = Backoff()
    for now in range(5):
        backoff.ended(float(now), served=0.0)
    assert backoff.ended(65.0, served=0.0) == Park(until=125.0)


def test_a_model_that_cannot_be_loaded_is_parked_at_once() -> None:
    assert Backoff().refused(now=10.0) == Park(until=70.0)


@given(st.lists(st.tuples(st.floats(0.0, 400.0), st.floats(0.0, 100.0)), min_size=1, max_size=50))
def test_however_an_engine_dies_it_is_never_started_five_times_within_five_minutes(
    lives: list[tuple[float, float]],
) -> None:
    backoff, now, starts = Backoff(), 0.0, [0.0]
    for lived, served in lives:
        now += lived
        plan = backoff.ended(now, min(served, lived))
        if isinstance(plan, Park):
            assert plan.until > now
            break
        now += plan.delay
        starts.append(now)
    busiest = max(sum(start <= other < start + 300.0 for other in starts) for start in starts)
    assert busiest <= RestartPolicy().park_after
