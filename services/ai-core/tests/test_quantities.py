"""Sizes and times as people write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.quantities import FOR_EVER, MAX_BYTES, MAX_SECONDS, bytes_in, seconds_in


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("8GB", 8 * 10**9),
        ("8 gb", 8 * 10**9),
        ("512MiB", 512 * 2**20),
        ("6G", 6 * 2**30),
        ("1.5GiB", 3 * 2**29),
        ("100", 100),
        ("100B", 100),
        (4_000_000, 4_000_000),
        (0, 0),
    ],
)
def test_sizes(written: str | float, meant: int) -> None:
    assert bytes_in(written) == meant


@pytest.mark.parametrize("written", ["", "8 apples", "GB", "-1GB", "1e9", "8GB!", "9" * 30, -1, float("nan")])
def test_what_is_no_size_says_how_sizes_are_written(written: str | float) -> None:
    with pytest.raises(ValueError, match="size"):
        bytes_in(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("2d", 172_800),
        ("90", 90),
        (90, 90),
        (0, 0),
        ("-1", FOR_EVER),
        (-1, FOR_EVER),
        ("-5m", FOR_EVER),
    ],
)
def test_times(written: str | float, meant: float) -> None:
    assert seconds_in(written) == meant


@pytest.mark.parametrize("written", ["", "m", "5 minutes", "5m3", "1e3", "h5", "99999d", float("inf")])
def test_what_is_no_time_says_how_times_are_written(written: str | float) -> None:
    with pytest.raises(ValueError, match=r"time like|ten years"):
        seconds_in(written)


def told(read: Callable[[str], float], text: str) -> float | str:
    try:
        return read(text)
    except ValueError as error:
        return str(error)


@given(st.text(max_size=30))
def test_any_text_is_a_quantity_within_bounds_or_an_error_that_explains(text: str) -> None:
    for read, most in ((bytes_in, MAX_BYTES), (seconds_in, MAX_SECONDS)):
        answer = told(read, text)
        assert answer.startswith("should be") if isinstance(answer, str) else FOR_EVER <= answer <= most
