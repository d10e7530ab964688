"""What becomes of a line of a batch, and whose line is next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.inference.batches.decisions import Outcome, next_key, postponement

KEYS = st.lists(st.sampled_from("abcdef"), unique=True)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 413, 500, 501, 502])
def test_what_will_not_change_is_the_result(status: int) -> None:
    assert postponement(Outcome(status, "r", b"{}", retry_after=5)) is None


@given(st.sampled_from([429, 503, 504]), st.none() | st.floats(0, 1e9))
def test_what_may_change_is_asked_again_within_a_minute(status: int, retry_after: float | None) -> None:
    wait = postponement(Outcome(status, "r", b"{}", retry_after))
    assert wait is not None
    assert 1 <= max(wait.line, wait.key) <= 60
    assert wait.key >= 1


def test_a_limit_holds_up_the_whole_key_and_a_lost_engine_one_line() -> None:
    assert postponement(Outcome(429, "r", b"{}", 30)) is not None
    limited, lost = (postponement(Outcome(status, "r", b"{}", 30)) for status in (429, 503))
    assert limited is not None
    assert lost is not None
    assert (limited.line, limited.key) == (0, 30)
    assert (lost.line, lost.key) == (30, 1)


@given(
    KEYS, st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9)), st.sets(st.sampled_from("abcdef"))
)
def test_the_next_key_is_able_and_has_the_fewest_running(
    keys: list[str], running: dict[str, int], resting: set[str]
) -> None:
    chosen = next_key(keys, running, resting)
    able = [key for key in keys if key not in resting]
    if chosen is None:
        assert not able
        return
    assert chosen in able
    fewest = [key for key in able if running.get(key, 0) == min(running.get(one, 0) for one in able)]
    assert chosen == fewest[0]
