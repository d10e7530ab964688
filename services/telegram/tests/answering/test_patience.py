"""How long answers are waited for: longer each time, and never beyond what was promised."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram_service.answering.patience import FIRST_WAIT, LONGEST_WAIT, is_long, next_try, time_for_a_try

MOST = 300.0


def tries(most: float, seconds_each: float = 0.0) -> list[float]:
    """When the AI core is asked that never answers."""
    at, moments = 0.0, [0.0]
    while (wait := next_try(at + seconds_each, most)) is not None:
        at += seconds_each + wait
        moments.append(at)
    return moments


def test_waits_grow_and_the_last_try_is_at_the_end() -> None:
    moments = tries(MOST)
    waits = [after - before for before, after in itertools.pairwise(moments)]
    assert waits[:5] == [2, 2, 4, 8, 16]
    assert max(waits) <= LONGEST_WAIT
    assert moments[-1] == pytest.approx(MOST)


@given(most=st.floats(1, 86_400), seconds_each=st.floats(0, 60))
def test_there_is_an_end(most: float, seconds_each: float) -> None:
    moments = tries(most, seconds_each)
    assert len(moments) < most / FIRST_WAIT + 3
    assert moments[-1] <= most + FIRST_WAIT + seconds_each


@given(waited=st.floats(0, 400), asked_for=st.floats(0.1, 4_000))
def test_a_server_that_says_when_is_asked_then_unless_that_is_too_late(
    waited: float, asked_for: float
) -> None:
    wait = next_try(waited, MOST, asked_for)
    if waited >= MOST:
        assert wait is None
    elif waited + asked_for <= MOST:
        assert wait == asked_for
    else:
        assert wait is not None
        assert wait <= max(MOST - waited, FIRST_WAIT)


@given(waited=st.floats(0, 10_000), most=st.floats(1, 3_600))
def test_everybody_gets_a_try_however_long_the_queue_was(waited: float, most: float) -> None:
    assert min(most, 60.0) <= time_for_a_try(waited, most) <= most


def test_a_moment_is_not_worth_a_word() -> None:
    assert not is_long(0.0, 1.0)
    assert is_long(0.0, 5.0)
    assert is_long(4.0, 1.0)
