"""From the start of a service to the signal that ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Lifetime:
    """Ends with a signal, with :meth:`end`, or when a task that should never end does."""

    def __init__(self) -> None:
        self._over = asyncio.Event()
        self._failure: BaseException | None = None

    def end(self) -> None:
        """Let :meth:`wait` return."""
        self._over.set()

    async def wait(self) -> None:
        """Returns when it is over. Raises what a background task has raised: a service that has lost one of
        its tasks looks alive and is not."""
        await self._over.wait()
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def background(self, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Let something run until the block ends; it is cancelled then, and awaited. It must not return."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        try:
            yield
        finally:
            task.remove_done_callback(self._ended)
            task.cancel()
            await asyncio.wait({task})

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and self._failure is None:
            self._failure = task.exception() or RuntimeError(f"{task.get_coro()} should never end")
        self._over.set()


@asynccontextmanager
async def until_signal() -> AsyncIterator[Lifetime]:
    """A lifetime that SIGTERM and SIGINT end; both have their usual meaning again after the block."""
    lifetime, loop = Lifetime(), asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, lifetime.end)
    try:
        yield lifetime
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
