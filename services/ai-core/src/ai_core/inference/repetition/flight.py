"""One answer in the making and all who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from ai_core.engine.messages import Delta, Finished
from ai_core.errors import DeadlineExceeded, EngineUnavailable, NeoError
from ai_core.inference.requests import Origin
from ai_core.inference.sources import SourcedAnswer

_EVENTS_PER_TURN = 64
"""Readers of what is there already let others have their turn after so many events."""


class Flight:
    """Everything that came so far, from the first event on: a reader needs no more than an offset, and
    the slowest holds up nobody.

    Attributes:
        work: the computation, and what is to be done after it.
        subscribers: those who want it, in the order in which they came.
        payer: the one who answers for what it costs: whoever came first and has not left before its end.
        cached: it was not computed now.
    """

    def __init__(
        self, fly: Callable[[Flight], Coroutine[None, None, None]], forget: Callable[[Flight], None]
    ) -> None:
        """``fly`` brings the events; ``forget`` is called when nobody may join any more."""
        self.events: list[Delta | Finished] = []
        self.prompt_tokens: int | None = None
        self.cached = False
        self.subscribers: list[Subscription] = []
        self.payer: Subscription | None = None
        self.ended = False
        self._forget = forget
        self._making: SourcedAnswer | None = None
        self._error: BaseException | None = None
        self._news = asyncio.Event()
        self.work = asyncio.create_task(fly(self))
        self.work.add_done_callback(self._end)

    @property
    def started(self) -> bool:
        """It is being computed, or has been."""
        return bool(self.events) or (self._making is not None and self._making.started)

    @property
    def complete(self) -> bool:
        """The last event is here."""
        return bool(self.events) and isinstance(self.events[-1], Finished)

    @property
    def generated_tokens(self) -> int:
        """Those that came so far."""
        last = self.events[-1] if self.events else None
        if isinstance(last, Finished):
            return last.completion_tokens
        return sum(event.tokens for event in self.events if isinstance(event, Delta))

    def board(self, subscription: Subscription) -> None:
        """One more wants it."""
        self.subscribers.append(subscription)
        self.payer = self.payer or subscription

    def leave(self, subscription: Subscription) -> None:
        """One fewer wants it. Without any, it is stopped."""
        self.subscribers.remove(subscription)
        if self.complete:
            return
        if not self.subscribers:
            self.stop()
        elif self.payer is subscription:
            self.payer = self.subscribers[0]

    def accept(self, prompt_tokens: int, making: SourcedAnswer | None = None) -> None:
        """The request is a good one; without ``making``, its answer is known already."""
        self.prompt_tokens = prompt_tokens
        self.cached = making is None
        self._making = making
        self._wake()

    def add(self, *events: Delta | Finished) -> None:
        """What the answer has grown by."""
        self.events.extend(events)
        self._wake()

    def stop(self) -> None:
        """Nobody wants it any more."""
        self._forget(self)
        self.work.cancel()

    def fail_if_failed(self) -> None:
        """Raises what the computation failed with; to each reader an error of its own."""
        if isinstance(self._error, NeoError):
            raise _another(self._error)
        if self._error is not None:
            raise self._error

    async def news(self) -> None:
        """Returns when anything has happened."""
        await self._news.wait()

    def _end(self, work: asyncio.Task[None]) -> None:
        self._forget(self)
        self.ended = True
        if work.cancelled():
            self._error = EngineUnavailable("This server is shutting down. Try again soon.", retry_after=1.0)
        else:
            self._error = work.exception()
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Subscription:
    """Implements :class:`..sources.SourcedAnswer`: one reader of a flight, with a deadline of its own."""

    def __init__(
        self, flight: Flight, *, timeout: float | None, delay: Callable[[], NeoError | None] = lambda: None
    ) -> None:
        """``timeout`` is in seconds from now; ``delay`` says what keeps the computation from beginning."""
        self.flight = flight
        self._delay = delay
        self._late = flight.complete
        self._offset = 0
        self._deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout

    @property
    def prompt_tokens(self) -> int:
        """Known once accepted."""
        return self.flight.prompt_tokens or 0

    @property
    def origin(self) -> Origin:
        """Known once accepted."""
        if self.flight.cached or self._late:
            return Origin.CACHED
        return Origin.COMPUTED if self.flight.payer is self else Origin.JOINED

    @property
    def generated_tokens(self) -> int:
        return self.flight.generated_tokens

    @property
    def started(self) -> bool:
        return self.flight.started

    async def accepted(self) -> None:
        """Returns once the request is accepted. Raises what it was refused with, or DeadlineExceeded."""
        while self.flight.prompt_tokens is None:
            self.flight.fail_if_failed()
            await self._news()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Delta | Finished:
        while self._offset == len(self.flight.events):
            if self.flight.ended or self.flight.complete:
                self.flight.fail_if_failed()
                raise StopAsyncIteration
            await self._news()
        event = self.flight.events[self._offset]
        self._offset += 1
        if self._offset % _EVENTS_PER_TURN == 0:
            await asyncio.sleep(0)
        return event

    async def _news(self) -> None:
        if self._deadline is None or self.flight.started:
            await self.flight.news()
            return
        try:
            async with asyncio.timeout_at(self._deadline):
                await self.flight.news()
        except TimeoutError:
            self._deadline = None
            self._fail_if_waiting()

    def _fail_if_waiting(self) -> None:
        if not self.flight.started:
            raise (
                self._delay() or DeadlineExceeded("The request waited longer than its timeout allows.")
            ) from None


def _another(error: NeoError) -> NeoError:
    """The same error for somebody else, who may name its parameter differently."""
    again = type(error).__new__(type(error), *error.args)
    again.__dict__.update(error.__dict__)
    return again
