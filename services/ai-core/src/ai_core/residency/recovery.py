"""Why an engine ended, and what becomes of the requests it had."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum

_OWN_FAULT = frozenset(
    {
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGILL,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGTRAP,
        signal.SIGSYS,
    }
)


class Cause(StrEnum):
    """Why an engine process ended."""

    CRASHED = "crashed"
    """By itself: a fatal signal, or a status other than 0."""
    KILLED = "killed"
    """From outside, e.g. by the kernel when memory ran out."""
    HUNG = "hung"
    """It said nothing for too long, and we killed it."""
    LOAD_FAILED = "load_failed"
    """It said that its model cannot be served."""
    CLOSED = "closed"
    """We asked it to end."""


def cause_of(exit_status: int) -> Cause:
    """The cause of an end that nobody here asked for, from the status of ``subprocess.Popen``:
    −n for signal n."""
    if exit_status < 0:
        return Cause.CRASHED if -exit_status in _OWN_FAULT else Cause.KILLED
    return Cause.CRASHED if exit_status else Cause.KILLED


def signal_name(exit_status: int | None) -> str | None:
    """``SIGKILL`` for −9; None for an ordinary exit."""
    if exit_status is None or exit_status >= 0:
        return None
    try:
        return signal.Signals(-exit_status).name
    except ValueError:
        return f"signal {-exit_status}"


@dataclass(frozen=True, slots=True)
class RequestState:
    """How far a request had come when its engine ended."""

    started: bool
    """It was in a batch."""
    shown: bool
    """Its caller has seen text."""
    alone: bool
    """It was suspected before and ran with nothing else in the batch."""
    being_read: bool = False
    """It was the next one that the engine had to turn into tokens."""


class Fate(StrEnum):
    """What becomes of a request whose engine ended."""

    RESUBMIT = "resubmitted"
    """It goes to the next engine; its caller notices nothing but time."""
    RETRY_ALONE = "retried_alone"
    """The same, with nothing else in the batch."""
    UNAVAILABLE = "failed"
    """Its caller is told to try again (503)."""
    QUARANTINED = "quarantined"
    """It killed an engine again and is refused (500)."""


def counts_as_strike(cause: Cause, request: RequestState) -> bool:
    """Whether a request is suspected of having caused this end: it was in the batch, or the process
    crashed when it had to read it."""
    if request.started:
        return cause in {Cause.CRASHED, Cause.HUNG}
    return request.being_read and cause is Cause.CRASHED


def fate_of(cause: Cause, request: RequestState, *, refused: bool) -> Fate:
    """``refused``: after this end, the quarantine refuses the request."""
    if cause in {Cause.CLOSED, Cause.LOAD_FAILED}:
        return Fate.UNAVAILABLE
    if refused:
        return Fate.QUARANTINED
    if not request.started and not counts_as_strike(cause, request):
        return Fate.RESUBMIT
    if cause is not Cause.CRASHED:
        return Fate.UNAVAILABLE
    if request.alone:
        return Fate.QUARANTINED
    return Fate.UNAVAILABLE if request.shown else Fate.RETRY_ALONE
