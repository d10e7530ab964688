"""Whether others get their turn while something goes on in the same event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable


async def turns_during(work: Awaitable[object]) -> int:
    """How often another task got its turn before the work was done."""
    turns = 0

    async def live() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(live())
    await asyncio.sleep(0)
    before = turns
    await work
    during = turns - before
    other.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await other
    return during
