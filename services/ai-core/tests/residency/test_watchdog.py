"""Silence is told from the watchdog's own lateness."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_core.residency.watchdog import Watchdog


def looks(watchdog: Watchdog, times: list[float], last_frame: float, timeout: float = 10.0) -> list[bool]:
    return [watchdog.hangs(now, last_frame, timeout) for now in times]


def test_an_engine_that_says_nothing_for_longer_than_the_timeout_hangs() -> None:
    watchdog = Watchdog(interval=1.0, now=0.0)
    verdicts = looks(watchdog, [float(second) for second in range(1, 13)], last_frame=1.0)
    assert verdicts == [False] * 11 + [True]


def test_an_engine_that_never_said_anything_is_measured_from_the_start() -> None:
    watchdog = Watchdog(interval=5.0, now=100.0)
    assert looks(watchdog, [105.0, 110.0, 115.0], last_frame=0.0) == [False, False, True]


def test_after_the_machine_slept_the_engine_gets_its_whole_time_again() -> None:
    watchdog = Watchdog(interval=1.0, now=0.0)
    assert looks(watchdog, [1.0, 3601.0, 3602.0], last_frame=1.0) == [False, False, False]
    later = [3600.0 + second for second in range(3, 13)]
    assert looks(watchdog, later, last_frame=1.0) == [False] * 9 + [True]


@given(st.lists(st.floats(0.01, 9.9), max_size=100), st.floats(0.1, 5.0))
def test_an_engine_that_speaks_often_enough_never_hangs(gaps: list[float], interval: float) -> None:
    watchdog, now = Watchdog(interval, 0.0), 0.0
    for gap in gaps:
        assert not watchdog.hangs(now + gap, last_frame=now, timeout=10.0)
        now += gap


@given(st.floats(0.1, 5.0), st.floats(0.1, 60.0))
def test_a_silent_engine_is_found_one_look_after_the_timeout(interval: float, timeout: float) -> None:
    watchdog, now, looks_taken = Watchdog(interval, 0.0), 0.0, 0
    while not watchdog.hangs(now, last_frame=0.0, timeout=timeout):
        now += interval
        looks_taken += 1
        assert looks_taken <= timeout / interval + 2
