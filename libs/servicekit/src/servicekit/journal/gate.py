"""Who goes first when one thread takes messages in and works on them: what comes in."""

from __future__ import annotations

import time
from collections.abc import Callable

QUIET_SECONDS = 0.1
"""So long after a message came in, more are expected."""


class Gate:
    """While messages come in, work on further lanes begins no faster than answers can go out anyway: to begin
    sooner would bring no answer sooner, and would let those wait who want to know that they were heard.

    Says when, and waits for nothing itself.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``per_second``: lanes; somewhat more than go out, so that workers never lack one. ``clock`` is in
        seconds."""
        self._gap = 1 / per_second
        self._clock = clock
        self._came_at = float("-inf")
        self._next_at = float("-inf")

    def came(self) -> None:
        """A message comes in."""
        self._came_at = self._clock()

    def wait(self) -> float:
        """Seconds until the next lane may be begun; 0: now."""
        now = self._clock()
        if now - self._came_at >= QUIET_SECONDS:
            return 0.0
        return max(0.0, self._next_at - now)

    def begun(self) -> None:
        """Work on a lane begins."""
        self._next_at = self._clock() + self._gap
