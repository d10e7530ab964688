"""Whether a remote server is asked at all. Pure: times are arguments, in seconds."""

from __future__ import annotations

FAILURES = 5
"""In a row, after which it is left alone."""
PAUSES = (1.0, 60.0)
"""The first pause, and the longest: each is twice the one before."""


class Breaker:
    """Closed at first: everybody passes. After :data:`FAILURES` failures in a row it opens, and nobody
    waits for the server until a pause is over. Then one request, or one look at its health, may try it:
    success closes it, and failure begins the next pause.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._pause = PAUSES[0]
        self._open_until: float | None = None
        self._trying = False

    @property
    def open(self) -> bool:
        """The server is left alone, or tried by one."""
        return self._open_until is not None

    def seconds_left(self, now: float) -> float:
        """Until the next try; 0 while closed, or when somebody may try."""
        return 0.0 if self._open_until is None else max(self._open_until - now, 0.0)

    def admit(self, now: float) -> bool:
        """Whether somebody may ask the server now. Whoever is admitted must say how it went."""
        if self._open_until is None:
            return True
        if self._trying or now < self._open_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """It did what was asked, or refused it for good reason."""
        self._failures = 0
        self._pause = PAUSES[0]
        self._open_until = None
        self._trying = False

    def answered_probe(self) -> None:
        """It is there. Whether it works is not known yet: the next failure opens again, for longer."""
        if self._open_until is None:
            return
        self._failures = FAILURES - 1
        self._open_until = None
        self._trying = False

    def failed(self, now: float) -> None:
        """It was away, or broken."""
        if self._open_until is not None and not self._trying:
            # Of a request that began before: known already.
            return
        self._failures += 1
        self._trying = False
        if self._open_until is not None or self._failures >= FAILURES:
            self._open_until = now + self._pause
            self._pause = min(self._pause * 2, PAUSES[1])

    def left(self) -> None:
        """Who was admitted left before anything was known."""
        self._trying = False
