"""What becomes of requests whose engine ended."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.residency.recovery import (
    Cause,
    Fate,
    RequestState,
    cause_of,
    counts_as_strike,
    fate_of,
    signal_name,
)

NEVER_STARTED = RequestState(started=False, shown=False, alone=False)
BEING_READ = RequestState(started=False, shown=False, alone=False, being_read=True)
NOTHING_SHOWN = RequestState(started=True, shown=False, alone=False)
TEXT_SHOWN = RequestState(started=True, shown=True, alone=False)
RETRIED = RequestState(started=True, shown=False, alone=True)

states = st.builds(RequestState, started=st.booleans(), shown=st.booleans(), alone=st.booleans()).filter(
    lambda state: state.started or not state.shown
)


@pytest.mark.parametrize(
    "fatal", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS, signal.SIGFPE]
)
def test_a_fatal_signal_is_the_engines_own_crash(fatal: signal.Signals) -> None:
    assert cause_of(-fatal) is Cause.CRASHED


@pytest.mark.parametrize("status", [1, 3, 255])
def test_an_exit_status_other_than_0_is_a_crash(status: int) -> None:
    assert cause_of(status) is Cause.CRASHED


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_other_signals_come_from_outside(sent: signal.Signals) -> None:
    assert cause_of(-sent) is Cause.KILLED


def test_signals_are_named_for_the_log() -> None:
    names = [signal_name(status) for status in (-9, -11, -250, 0, 3, None)]
    assert names == ["SIGKILL", "SIGSEGV", "signal 250", None, None, None]


@pytest.mark.parametrize("cause", [Cause.CRASHED, Cause.KILLED, Cause.HUNG])
def test_a_request_that_was_never_in_a_batch_goes_to_the_next_engine(cause: Cause) -> None:
    assert fate_of(cause, NEVER_STARTED, refused=False) is Fate.RESUBMIT


@pytest.mark.parametrize("cause", [Cause.KILLED, Cause.HUNG])
@pytest.mark.parametrize("state", [NOTHING_SHOWN, TEXT_SHOWN, RETRIED])
def test_after_a_kill_or_a_hang_requests_of_the_batch_are_told_to_come_again(
    cause: Cause, state: RequestState
) -> None:
    assert fate_of(cause, state, refused=False) is Fate.UNAVAILABLE


def test_after_a_crash_a_request_that_showed_nothing_is_tried_once_more_alone() -> None:
    assert fate_of(Cause.CRASHED, NOTHING_SHOWN, refused=False) is Fate.RETRY_ALONE


def test_after_a_crash_a_request_that_showed_text_is_told_to_come_again() -> None:
    assert fate_of(Cause.CRASHED, TEXT_SHOWN, refused=False) is Fate.UNAVAILABLE


def test_a_request_that_crashed_an_engine_alone_is_quarantined() -> None:
    assert fate_of(Cause.CRASHED, RETRIED, refused=False) is Fate.QUARANTINED


@given(st.sampled_from(Cause), states, st.booleans())
def test_no_text_is_ever_computed_again_that_a_caller_has_seen(
    cause: Cause, state: RequestState, refused: bool
) -> None:
    again = fate_of(cause, state, refused=refused) in {Fate.RESUBMIT, Fate.RETRY_ALONE}
    assert not (again and state.shown)


@given(st.sampled_from(Cause), states)
def test_what_the_quarantine_refuses_never_runs_again(cause: Cause, state: RequestState) -> None:
    assert fate_of(cause, state, refused=True) in {Fate.QUARANTINED, Fate.UNAVAILABLE}


@given(states, st.booleans())
def test_after_an_end_that_was_asked_for_nothing_is_tried_again(state: RequestState, refused: bool) -> None:
    assert fate_of(Cause.CLOSED, state, refused=refused) is Fate.UNAVAILABLE


def test_only_crashes_and_hangs_make_requests_suspect() -> None:
    assert {cause for cause in Cause if counts_as_strike(cause, NOTHING_SHOWN)} == {Cause.CRASHED, Cause.HUNG}
    assert {cause for cause in Cause if counts_as_strike(cause, BEING_READ)} == {Cause.CRASHED}
    assert not any(counts_as_strike(cause, NEVER_STARTED) for cause in Cause)


def test_the_one_that_was_being_read_in_a_crash_is_tried_once_more_alone() -> None:
    assert fate_of(Cause.CRASHED, BEING_READ, refused=False) is Fate.RETRY_ALONE
    assert fate_of(Cause.KILLED, BEING_READ, refused=False) is Fate.RESUBMIT
