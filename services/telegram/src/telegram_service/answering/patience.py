"""How long an answer is waited for. Pure: seconds in, seconds out."""

from __future__ import annotations

FIRST_WAIT = 2.0
LONGEST_WAIT = 60.0
NOTE_AFTER = 3.0
"""Who waits longer is told that it takes a little longer."""
LEAST_TRY = 60.0
"""What waited in the queue until its time was up gets so long all the same, or as long as any other if that
is less: nobody is apologised to without a try."""


def next_try(waited: float, most: float, asked_for: float | None = None) -> float | None:
    """When to ask the AI core again; None: it has taken too long.

    Without a word from the server, waits grow with the time that has passed, so each is about twice the one
    before.

    Args:
        waited: since the question came.
        most: after which there will be no answer.
        asked_for: by the server (``Retry-After``), which knows best: sooner is for nothing, and a place that
            it keeps does not wait for ever.
    """
    if waited >= most:
        return None
    wait = asked_for or min(LONGEST_WAIT, max(FIRST_WAIT, waited))
    # The last try comes at the end, not an hour later.
    return min(wait, max(most - waited, FIRST_WAIT))


def time_for_a_try(waited: float, most: float) -> float:
    """The seconds that one answer may take."""
    return max(most - waited, min(most, LEAST_TRY))


def is_long(waited: float, wait: float) -> bool:
    """Whether somebody should be told who has waited and is to wait once more."""
    return waited + wait >= NOTE_AFTER
