"""How the process that reads tells the one that waits for it what became of it: by its exit status. Pure."""

from __future__ import annotations

import signal

from servicekit.documents.port import Refusal

_FIRST = 80
EXIT_STATUS = {refusal: _FIRST + number for number, refusal in enumerate(Refusal)}
FAILED_TO_START = 1
"""Python's own, when a module is missing; also that of programs which could not read a document."""
_BY_STATUS = {status: refusal for refusal, status in EXIT_STATUS.items()}
_BY_SIGNAL = {
    signal.SIGXCPU: Refusal.TIMED_OUT,
    # The kernel, when memory is short.
    signal.SIGKILL: Refusal.TOO_LARGE,
}


def refusal_of(status: int) -> Refusal | None:
    """What an exit status means, negative for a signal; None: all was well."""
    if status == 0:
        return None
    if status < 0:
        return _BY_SIGNAL.get(signal.Signals(-status), Refusal.UNREADABLE)
    return _BY_STATUS.get(status, Refusal.UNREADABLE)
