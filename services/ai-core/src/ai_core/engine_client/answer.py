"""What the API process knows of one request in an engine, and the answer handed to its caller."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import structs

from ai_core.engine.messages import Delta, Finished, Submit, TokenLogprob
from ai_core.errors import EngineUnavailable, GenerationFailed, NeoError

BUFFERED_EVENTS = 512
"""Events that wait for a reader before the reader counts as too slow."""


class EngineLost(EngineUnavailable):
    """The engine process of this request is gone.

    Attributes:
        started: the request was in a batch.
        shown: some of its text has come back.
        being_read: it was the next one that the engine had to read, or to compile a grammar for.
    """

    def __init__(self, *, started: bool, shown: bool, being_read: bool = False) -> None:
        super().__init__("The engine was lost while it worked on this request. Try again.", retry_after=1.0)
        self.started = started
        self.shown = shown
        self.being_read = being_read


class InFlight:
    """One request from its submission until the engine's last word on it.

    It outlives its reader: a request whose caller left may still be in the batch that kills the engine.
    """

    def __init__(
        self, request: Submit, send_cancel: Callable[[int], None], limit: int = BUFFERED_EVENTS
    ) -> None:
        self.request = request
        self.started = False
        self.shown = False
        self.read = False
        self.being_read = False
        self.accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._send_cancel = send_cancel
        self._limit = limit
        self._events: deque[Delta | Finished] = deque()
        self._held_tokens = 0
        self._held_logprobs: list[TokenLogprob] = []
        self._ended = False
        self._cancelled = False
        self._error: NeoError | None = None
        self._reader: asyncio.Future[None] | None = None

    def accept(self, prompt_tokens: int) -> None:
        """The engine has queued the request."""
        if not self.accepted.done():
            self.accepted.set_result(prompt_tokens)

    def deliver(self, delta: Delta) -> None:
        """New tokens. Those that bring no text yet are counted with the next text, so that a request
        that shows nothing can be computed anew and its caller sees no token twice."""
        self.started = True
        if not (delta.text or delta.reasoning or delta.calls):
            self._held_tokens += delta.tokens
            self._held_logprobs += delta.logprobs or ()
            return
        if self._held_tokens:
            tokens = delta.tokens + self._held_tokens
            delta = structs.replace(delta, tokens=tokens, logprobs=self._with_held(delta.logprobs))
            self._held_tokens = 0
        self.shown = True
        self._buffer(delta)

    def finish(self, finished: Finished) -> None:
        """The engine's last word: the answer is complete."""
        if self._held_logprobs:
            finished = structs.replace(finished, logprobs=self._with_held(finished.logprobs))
        self._buffer(finished)
        self._end()

    def fail(self, error: NeoError) -> None:
        """The engine's last word: no (further) answer. What was delivered before can still be read."""
        self._error = self._error or error
        if not self.accepted.done():
            self.accepted.set_exception(error)
        self._end()

    def cancel(self) -> None:
        """Tell the engine, once, that nobody wants the answer any more."""
        if not self._cancelled and not self._ended:
            self._cancelled = True
            self._send_cancel(self.request.id)

    @property
    def ended(self) -> bool:
        """The engine has said its last word on it."""
        return self._ended

    async def next(self) -> Delta | Finished | None:
        """The next event; None after the last. Raises the error that ended the answer."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            await self._more()
        return self._events.popleft()

    def _with_held(self, logprobs: list[TokenLogprob] | None) -> list[TokenLogprob] | None:
        if not self._held_logprobs:
            return logprobs
        held, self._held_logprobs = self._held_logprobs, []
        return held + (logprobs or [])

    async def _more(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _buffer(self, event: Delta | Finished) -> None:
        if self._error is not None:
            return
        if len(self._events) >= self._limit:
            self._give_up_on_reader()
            return
        self._events.append(event)
        self._wake()

    def _give_up_on_reader(self) -> None:
        self._events.clear()
        self._error = GenerationFailed(
            f"The answer was stopped: {self._limit} pieces of it waited to be read.", code="slow_reader"
        )
        self._wake()
        self.cancel()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class SocketAnswer:
    """Implements :class:`.port.Answer`: an iterator for one reader. Dropping it cancels the request."""

    def __init__(self, in_flight: InFlight, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self._in_flight = in_flight
        self._loop = asyncio.get_running_loop()

    @property
    def started(self) -> bool:
        return self._in_flight.started

    def __aiter__(self) -> SocketAnswer:
        return self

    async def __anext__(self) -> Delta | Finished:
        event = await self._in_flight.next()
        if event is None:
            raise StopAsyncIteration
        return event

    def cancel(self) -> None:
        self._in_flight.cancel()

    def __del__(self) -> None:
        # The garbage collector may call this in any thread, and after the loop.
        if not self._in_flight.ended and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._in_flight.cancel)
