"""Cores are shared, never oversold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.residency.threads import share_cores

names = st.lists(st.text(max_size=3), unique=True, max_size=40)


def test_one_engine_gets_all_cores() -> None:
    assert share_cores(8, ["a"]) == {"a": 8}


def test_what_is_left_over_goes_to_the_first_engines() -> None:
    assert share_cores(8, ["a", "b", "c"]) == {"a": 3, "b": 3, "c": 2}


def test_nobody_active_shares_nothing() -> None:
    assert share_cores(4, []) == {}


@given(cores=st.integers(1, 256), active=names)
def test_cores_are_used_up_and_never_oversold_unless_there_are_more_engines(
    cores: int, active: list[str]
) -> None:
    shares = share_cores(cores, active)
    assert list(shares) == active
    assert all(threads >= 1 for threads in shares.values())
    if active:
        assert sum(shares.values()) == max(cores, len(active))
        assert max(shares.values()) - min(shares.values()) <= 1


@pytest.mark.parametrize(("cores", "active"), [(0, ["a"]), (2, ["a", "a"])])
def test_impossible_questions_are_refused(cores: int, active: list[str]) -> None:
    with pytest.raises(ValueError, match=r"core|once"):
        share_cores(cores, active)
