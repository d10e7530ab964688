"""Whether a server that failed is asked again: not by requests, but by one task on their behalf."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from servicekit.key_value.failures import StoreUnavailable, Unavailable
from servicekit.logging import get_logger

PROBE_SECONDS = 0.5
RETRY_AFTER = 2.0
QUIET_SECONDS = 60.0

_log = get_logger(__name__)


class Breaker:
    """Closed at first: everybody passes. A failure opens it, and from then on nobody waits for the server;
    a task asks it at once and then every :data:`PROBE_SECONDS`, until it answers."""

    def __init__(
        self, what: str, probe: Callable[[], Awaitable[bool]], unavailable: Unavailable = StoreUnavailable
    ) -> None:
        """``what`` names the server for people; ``probe`` says whether it answers."""
        self._what = what
        self._probe = probe
        self._unavailable = unavailable
        self._probing: asyncio.Task[None] | None = None
        self._quiet_until = 0.0

    @property
    def open(self) -> bool:
        """The server is left alone."""
        return self._probing is not None and not self._probing.done()

    def refusal(self) -> Exception:
        """What callers are told while the server is away."""
        return self._unavailable(
            f"{self._what} cannot be used just now. Try again soon.", retry_after=RETRY_AFTER
        )

    def trip(self, reason: str) -> None:
        """The server has just failed. Needs a running event loop."""
        if not self.open:
            self._probing = asyncio.create_task(self._wait_for_it(reason))

    async def close(self) -> None:
        """Stop asking."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})

    async def _wait_for_it(self, reason: str) -> None:
        since = time.monotonic()
        away = not await self._probe()
        # One that answers and fails, again and again, would fill the log.
        if away or since >= self._quiet_until:
            _log.warning("store failed", store=self._what, error=reason, away=away)
            self._quiet_until = since + QUIET_SECONDS
        if not away:
            return
        while away:
            await asyncio.sleep(PROBE_SECONDS)
            away = not await self._probe()
        _log.info("store is back", store=self._what, seconds=round(time.monotonic() - since, 1))
