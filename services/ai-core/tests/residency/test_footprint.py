"""What a model is taken to hold: estimated, then measured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_core.residency.footprint import Footprint

sizes = st.integers(1, 10**12)


def test_until_a_model_has_answered_the_estimate_counts_or_more() -> None:
    footprint = Footprint(100)
    assert footprint.held == footprint.full == 100
    footprint.note(60)
    assert footprint.held == 100
    footprint.note(130)
    assert footprint.held == 130


def test_after_an_answer_what_was_measured_counts_with_a_margin() -> None:
    footprint = Footprint(100)
    footprint.note(64, answered=True)
    assert footprint.held == 68


def test_what_was_measured_counts_for_the_next_load() -> None:
    footprint = Footprint(1000)
    footprint.note(320, answered=True)
    footprint.ended()
    assert footprint.full == 340


def test_a_life_without_an_answer_teaches_only_that_it_was_more() -> None:
    footprint = Footprint(1000)
    footprint.note(320)
    footprint.ended()
    assert footprint.full == 1000
    footprint.note(1600)
    footprint.ended()
    assert footprint.full == 1700


def test_a_model_that_rests_counts_for_what_is_left_and_wants_all_of_it_again() -> None:
    footprint = Footprint(100, cache_estimate=30)
    footprint.note(160, answered=True)
    assert footprint.spare == 30
    footprint.rested(110)
    assert (footprint.held, footprint.full, footprint.spare) == (110, 170, 0)
    footprint.woke()
    assert (footprint.held, footprint.spare) == (170, 50)


@given(sizes, st.lists(st.tuples(sizes, st.booleans()), max_size=6), st.booleans())
def test_nothing_measured_ever_counts_for_less(
    estimate: int, seen: list[tuple[int, bool]], resting: bool
) -> None:
    footprint = Footprint(estimate)
    for measured, answered in seen:
        footprint.note(measured, answered=answered)
        assert footprint.held >= measured
    if resting and seen:
        footprint.rested(1)
        assert footprint.held <= footprint.full
    footprint.ended()
    assert footprint.held == footprint.full >= min(estimate, *(size for size, _ in seen), estimate)


@given(sizes, st.lists(sizes, min_size=1, max_size=20))
def test_many_lives_do_not_make_a_model_larger_than_it_ever_was(estimate: int, lives: list[int]) -> None:
    footprint = Footprint(estimate)
    for measured in lives:
        footprint.note(measured, answered=True)
        footprint.ended()
    assert footprint.full <= max(lives) * 17 / 16 + 1
