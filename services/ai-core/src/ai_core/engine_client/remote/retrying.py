"""Whether a request that failed is sent again. Pure: times in seconds."""

from __future__ import annotations

from ai_core.errors import NeoError, UpstreamUnavailable

TRIES = 2
PAUSE = 0.25
LONGEST_PAUSE = 2.0
"""A server that wants to be left alone for longer is obeyed: its caller is told so."""


def pause_before_retry(error: NeoError, tries: int, *, shown: bool, time_left: float | None) -> float | None:
    """Seconds to wait before it is sent again; None: it is not.

    Args:
        tries: how often it was sent.
        shown: some of its answer has reached its caller, who must not see two beginnings.
        time_left: seconds that its caller still waits.
    """
    if shown or tries >= TRIES or not isinstance(error, UpstreamUnavailable):
        return None
    pause = PAUSE if error.retry_after is None else max(PAUSE, error.retry_after)
    if pause > LONGEST_PAUSE or (time_left is not None and pause >= time_left):
        return None
    return pause
