"""Attempts at an entry: what ends badly is counted, what only was interrupted is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.records import Entry
from servicekit.storage.database import StorageUnavailable


@contextlib.asynccontextmanager
async def attempt(
    lane: HeldLane, entry: Entry, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[int]:
    """Count an attempt before anything is tried, and take it back where the database went away, the lane was
    lost, or the process is told to end: nothing is given up because of those. What ends the process counts.

    Yields:
        How often it has been tried now.
    """
    attempts = await lane.begin(entry)
    try:
        yield attempts
    except (LaneLost, StorageUnavailable):
        await _forgive(lane, entry, sleep)
        raise
    except asyncio.CancelledError:
        # Whoever ends does not wait for a database.
        with contextlib.suppress(StorageUnavailable):
            await lane.forgive(entry)
        raise


async def _forgive(lane: HeldLane, entry: Entry, sleep: Callable[[float], Awaitable[None]]) -> None:
    while True:
        try:
            return await lane.forgive(entry)
        except StorageUnavailable as error:
            await sleep(error.retry_after)
