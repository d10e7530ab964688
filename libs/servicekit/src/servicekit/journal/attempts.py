"""Attempts at an entry: what ends badly is counted, what only was interrupted is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.records import Entry
from servicekit.storage.database import StorageUnavailable


@contextlib.asynccontextmanager
async def attempt(
    lane: HeldLane, entry: Entry, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[int]:
    """Count an attempt before anything is tried, and take it back where the database went away or the process
    is told to end: nothing is given up because of those. What ends the process counts. So does a lane that is
    lost again and again: whoever holds the process up for longer than the lease would be tried for ever.

    Yields:
        How often it has been tried now.
    """
    attempts = await lane.begin(entry)
    try:
        yield attempts
    except StorageUnavailable:
        await _insist(lane.forgive, entry, sleep)
        raise
    except LaneLost:
        await _insist(partial(lane.forgive, lost=True), entry, sleep)
        raise
    except asyncio.CancelledError:
        # Whoever ends does not wait for a database.
        with contextlib.suppress(StorageUnavailable):
            await _forgive_end(lane, entry)
        raise


async def _forgive_end(lane: HeldLane, entry: Entry) -> None:
    """The work is also told to end when its lane is found to be lost."""
    try:
        await lane.renew()
    except LaneLost:
        await lane.forgive(entry, lost=True)
    else:
        await lane.forgive(entry)


async def _insist(
    forgive: Callable[[Entry], Awaitable[None]], entry: Entry, sleep: Callable[[float], Awaitable[None]]
) -> None:
    while True:
        try:
            return await forgive(entry)
        except StorageUnavailable as error:
            await sleep(error.retry_after)
