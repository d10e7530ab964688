"""Callers learn when to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.residency import unavailable
from ai_core.residency.recovery import Cause

seconds = st.floats(0.0, 1e6)


def test_a_caller_of_a_loading_model_learns_how_far_it_is() -> None:
    error = unavailable.loading("small", progress=0.25, elapsed=5.0)
    assert error.message == "The model 'small' is loading (25%). Try again in 15 s."
    assert error.retry_after == 15.0


@given(st.floats(0.0, 1.0), seconds)
def test_what_is_left_of_a_load_is_a_whole_number_of_seconds_within_a_minute(
    progress: float, elapsed: float
) -> None:
    left = unavailable.seconds_to_load(progress, elapsed)
    assert 1.0 <= left <= 60.0
    assert left.is_integer()


@given(st.sampled_from(Cause), seconds)
def test_every_refusal_says_when_to_try_again(cause: Cause, wait: float) -> None:
    errors = [
        unavailable.lost("small", cause, wait),
        unavailable.parked("small", "The file is broken.", wait),
        unavailable.restarting("small", wait),
        unavailable.closed("small"),
    ]
    assert all(error.retry_after is not None and error.retry_after >= 1.0 for error in errors)
    assert all("small" in error.message for error in errors)


@pytest.mark.parametrize("reason", ["the file is broken", "the file is broken."])
def test_why_a_model_is_parked_is_a_sentence_of_its_own(reason: str) -> None:
    error = unavailable.parked("small", reason, 60.0)
    assert "cannot be served: the file is broken. It will be tried again in 60 s." in error.message
