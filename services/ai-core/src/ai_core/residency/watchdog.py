"""Whether an engine hangs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Watchdog:
    """Looks at an engine every ``interval`` seconds. An engine that works says something more often
    than every ``timeout`` seconds. Times come from one monotonic clock.

    Its own lateness is no sign of the engine's: when this process was stopped or the machine slept,
    the engine's frames were not read either, so the waiting begins anew.
    """

    interval: float
    _waiting_since: float
    _looked_at: float

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        self._waiting_since = self._looked_at = now

    def hangs(self, now: float, last_frame: float, timeout: float) -> bool:
        """Whether the engine has been silent for longer than ``timeout`` while somebody was listening."""
        lateness = now - self._looked_at - self.interval
        if lateness > self.interval:
            self._waiting_since = now
        self._looked_at = now
        return now - max(last_frame, self._waiting_since) > timeout
