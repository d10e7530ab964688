"""What is under way with somebody else is heard out, also by somebody who is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def heard_out(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """What `work` returns or raises.

    Args:
        seconds: somebody who is cancelled meanwhile waits so long for its end, and gives it up then. What it
            raises after that is said nowhere: it is noted already, or the journal says that nobody knows.

    Raises:
        asyncio.CancelledError: the caller was told to stop, whatever `work` came to.
    """
    going = asyncio.ensure_future(work)
    going.add_done_callback(_look)
    try:
        return await asyncio.shield(going)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({going}, timeout=seconds)
        finally:
            going.cancel()
        raise


def _look(task: asyncio.Task[Any]) -> None:
    """An exception that nobody has looked at would be logged, with what is in it."""
    if not task.cancelled():
        task.exception()
