"""Who is told to stop waits for the last word of what cannot be repeated."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from servicekit.journal.heard_out import heard_out

LONG = 3600.0


class Call:
    """Something under way that ends when the test says so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self.cancelled = False
        self._error = error

    async def made(self) -> str:
        self.begun.set()
        try:
            await self.over.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if self._error:
                raise self._error from None
            raise
        if self._error:
            raise self._error
        return "said"


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What the event loop has to say of tasks whose errors nobody saw."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def test_what_it_says_is_returned() -> None:
    call = Call()
    call.over.set()
    assert await heard_out(call.made(), LONG) == "said"


async def test_who_is_told_to_stop_waits_for_the_end() -> None:
    call = Call()
    waiting = asyncio.create_task(heard_out(call.made(), LONG))
    await call.begun.wait()
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    call.over.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not call.cancelled


async def test_but_not_for_ever() -> None:
    call = Call()
    waiting = asyncio.create_task(heard_out(call.made(), 0))
    await call.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert call.cancelled


@pytest.mark.parametrize("times", [1, 2])
async def test_nothing_is_left_behind_that_nobody_looks_at(
    times: int, complaints: list[dict[str, Any]]
) -> None:
    """Told to stop twice, or in vain: the call ends, and what it raises then goes into no log."""
    call = Call(ValueError("somebody's words"))
    waiting = asyncio.create_task(heard_out(call.made(), 0 if times == 1 else LONG))
    await call.begun.wait()
    for _ in range(times):
        waiting.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    gc.collect()
    assert call.cancelled
    assert complaints == []
