"""All pulls of this process: one for each model, however many ask for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from ai_core.catalog.hub.messages import Completed, Event, Failed, Final, Order, Planned
from ai_core.catalog.hub.orders import Terms
from ai_core.catalog.hub.puller import Puller
from servicekit.logging import get_logger

log = get_logger(__name__)

_BROKEN = Failed("failed", "Something went wrong in this server; its log tells more.")
_CLOSED = Failed("failed", "The server is shutting down. What has come is kept.")


async def _nothing() -> None:
    pass


@dataclass(slots=True)
class _Pull:
    """One pull under way: what was planned, and the newest event. Slow followers miss those in between."""

    planned: Planned | None = None
    newest: Event | None = None
    number: int = 0
    """Of the newest event, from 1."""
    followers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def say(self, event: Event) -> None:
        """Everybody who waits hears it."""
        if isinstance(event, Planned):
            self.planned = event
        self.newest, self.number = event, self.number + 1
        self.changed.set()
        self.changed = asyncio.Event()

    def stop(self) -> None:
        """End it, unless it is just ending: that must not be disturbed."""
        if self.task is not None and not isinstance(self.newest, Final):
            self.task.cancel()


class Pulls:
    """Joins those who want the same, and stops a pull when nobody follows it any more."""

    def __init__(
        self, puller: Puller, terms: Terms, changed: Callable[[], Awaitable[object]] = _nothing
    ) -> None:
        """``changed`` is awaited when a model has come, before anybody is told."""
        self.terms = terms
        self._puller = puller
        self.changed = changed
        self._running: dict[tuple[object, ...], _Pull] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """Of pulls that run, or that nobody follows any more and that are just ending."""

    @property
    def count(self) -> int:
        """Pulls under way."""
        return len(self._running)

    async def follow(self, order: Order) -> AsyncGenerator[Event]:
        """What happens with a model, from now on; the last event is Completed or Failed.

        A pull of the same model that is under way is joined: its plan comes first. Close the iterator to
        stop following.
        """
        key = (order.folder, order.form, order.pattern, order.quantization)
        pull = self._running.get(key) or self._start(key, order)
        pull.followers += 1
        try:
            seen, knows_the_plan = 0, False
            while True:
                if pull.number == seen:
                    await pull.changed.wait()
                seen, newest, plan = pull.number, pull.newest, pull.planned
                if not knows_the_plan and plan is not None and plan is not newest:
                    # It came and was overtaken before this follower had a turn.
                    yield plan
                knows_the_plan = plan is not None
                assert newest is not None
                yield newest
                if isinstance(newest, Final):
                    return
        finally:
            pull.followers -= 1
            if not pull.followers:
                self._forget(key, pull)
                pull.stop()

    async def close(self) -> None:
        """End all pulls; what has come is kept."""
        pulls = list(self._running.values())
        self._running.clear()
        for pull in pulls:
            pull.stop()
            pull.say(_CLOSED)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, key: tuple[object, ...], order: Order) -> _Pull:
        pull = self._running[key] = _Pull()
        pull.task = asyncio.create_task(self._run(key, order, pull))
        self._tasks.add(pull.task)
        pull.task.add_done_callback(self._tasks.discard)
        return pull

    async def _run(self, key: tuple[object, ...], order: Order, pull: _Pull) -> None:
        try:
            async with contextlib.aclosing(self._puller.events(order)) as events:
                async for event in events:
                    if isinstance(event, Completed):
                        await self.changed()
                    if isinstance(event, Final):
                        # Whoever comes now looks anew.
                        self._forget(key, pull)
                    pull.say(event)
        except Exception:
            log.exception("a pull broke off", repository=order.repository)
            self._forget(key, pull)
            pull.say(_BROKEN)

    def _forget(self, key: tuple[object, ...], pull: _Pull) -> None:
        if self._running.get(key) is pull:
            del self._running[key]
