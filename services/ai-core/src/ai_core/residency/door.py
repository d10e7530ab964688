"""Those who wait until they may use a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Door:
    """Requests wait here in the order in which they came. All methods belong to one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[asyncio.Future[None], float] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    @property
    def since(self) -> float | None:
        """When the first of those came who wait."""
        return min(self._waiting.values(), default=None)

    def knock(self) -> asyncio.Future[None]:
        """Done when the one who waits for it may go in, or raises why not."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = self._clock()
        return waiter

    def let_in(self, each: Callable[[float], None]) -> None:
        """All may go in. ``each`` is called for each of them, with the seconds that they waited."""
        now = self._clock()
        for waiter, came in self._waiting.items():
            if not waiter.done():
                each(now - came)
                waiter.set_result(None)
        self._waiting.clear()

    def turn_away(self, error: Exception) -> None:
        """All are told why they may not."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()

    def leave(self, waiter: asyncio.Future[None]) -> bool:
        """One does not wait any longer. Whether it had been let in at that very moment."""
        if self._waiting.pop(waiter, None) is not None:
            return False
        return waiter.done() and not waiter.cancelled() and waiter.exception() is None
