"""Hears that somebody wants an answer no more, whatever its worker waits for just then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.records import Entry
from servicekit.storage.database import StorageUnavailable

LOOK_SECONDS = 1.0
"""After so long without a look, it is looked."""


def stop_signal(entry_id: int) -> str:
    """What is said to a lane (``Journal.signal``) that shall end the answer to an entry. It is for this one
    only: said a moment too late, it must not end the next."""
    return f"stop {entry_id}"


class Stopped(Exception):
    """Somebody does not want the rest."""


class Ear:
    """For the answer to one entry."""

    def __init__(self, lane: HeldLane, entry: Entry) -> None:
        self._lane = lane
        self._entry = entry
        self._has_looked = False
        self._why: Exception = Stopped()
        self.undisturbed = asyncio.Lock()
        """While somebody holds it, :meth:`listening` ends nothing."""

    async def look(self) -> None:
        """Hold the lane for longer, as ``HeldLane.renew``. Raises Stopped, LaneLost, StorageUnavailable."""
        self._has_looked = True
        if await self._lane.renew() == stop_signal(self._entry.id):
            await self._lane.heard()
            raise Stopped

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """What runs in this context is broken off soon after somebody said so, or took the lane.

        Raises:
            Stopped, LaneLost: it was.
        """
        if self._entry.reason:
            # It had to wait, and meanwhile it may have been said.
            await self.look()
        ending = asyncio.timeout(None)
        try:
            async with ending:
                listening = asyncio.create_task(self._listen(ending))
                try:
                    yield
                finally:
                    listening.cancel()
                    await asyncio.wait({listening})
        except TimeoutError:
            if not ending.expired():
                raise
            raise self._why from None

    async def _listen(self, ending: asyncio.Timeout) -> None:
        while True:
            self._has_looked = False
            await asyncio.sleep(LOOK_SECONDS)
            if self._has_looked:
                continue
            try:
                await self.look()
            except StorageUnavailable:
                # Whether the lane was lost meanwhile is seen with the next write.
                continue
            except (Stopped, LaneLost) as why:
                self._why = why
                break
        # Never let go: nothing more is begun.
        await self.undisturbed.acquire()
        ending.reschedule(0.0)
