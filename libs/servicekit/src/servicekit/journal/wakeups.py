"""How workers learn that there is something to do, sooner than by looking now and then."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol


class Bell(Protocol):
    """Rings once."""

    async def wait(self, seconds: float) -> None:
        """Returns when it has rung, or after some seconds."""


class Wakeups(Protocol):
    """A hint, never a promise: it may come for nothing or not at all, so waiting always has an end."""

    def ring(self) -> None:
        """Something may be to do."""

    def listen(self) -> Bell:
        """To be called *before* looking for work, so that what comes in meanwhile is heard."""


class LocalBell:
    """Implements :class:`Bell` within one event loop."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits, now or later."""
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()


class LocalWakeups:
    """Implements :class:`Wakeups` within one event loop."""

    def __init__(self) -> None:
        self._bell = LocalBell()

    def ring(self) -> None:
        self._bell.ring()
        self._bell = LocalBell()

    def listen(self) -> Bell:
        return self._bell
