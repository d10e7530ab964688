"""Where answers come from, behind one port: an engine, the cache, or a computation under way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import msgspec

from ai_core.engine.messages import Delta, Finished, Submit
from ai_core.engine_client.port import Answer, Engine
from ai_core.inference.metrics import ModelMetrics
from ai_core.inference.requests import CachePolicy, Origin
from ai_core.inference.tickets import Tickets

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One answer that is wanted. A request for several choices makes one query of each."""

    submit: Submit
    """``submit.timeout`` is the caller's own: seconds from now."""
    key_id: str = ""
    """Of the caller's API key."""
    cache: CachePolicy = "auto"
    variant: int = 0
    """Which of several choices this is."""


class SourcedAnswer(Protocol):
    """An accepted request and what comes back for it, as in ``engine_client.port.Answer``."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, chat template included."""

    @property
    def origin(self) -> Origin:
        """Known from the start; where the one for whom it was computed leaves, ``joined`` may become
        ``computed``: somebody has to answer for it."""

    @property
    def generated_tokens(self) -> int:
        """Those that came so far, read or not."""

    @property
    def started(self) -> bool:
        """Its turn has come: it is being computed, or has been."""

    def __aiter__(self) -> AsyncIterator[Delta | Finished]:
        """Deltas in order, then exactly one ``Finished``. Raises NeoError where the answer broke off."""


class AnswerSource(Protocol):
    """Something that answers for one model."""

    def open(self, query: Query) -> AbstractAsyncContextManager[SourcedAnswer]:
        """Entered once the request is accepted; leaving stops what nobody else wants.

        Raises:
            Overloaded, InvalidRequest, EngineUnavailable, RequestQuarantined, DeadlineExceeded: on entering.
        """


def fingerprint(query: Query) -> int:
    """The same for a request that comes again after it was refused."""
    return hash((query.key_id, query.variant, _encode(query.submit)))


class EngineSource:
    """Computes every answer. Each holds one ticket."""

    def __init__(
        self, engine: Engine, tickets: Tickets, metrics: ModelMetrics, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._tickets = tickets
        self._metrics = metrics
        self._clock = clock

    @asynccontextmanager
    async def open(self, query: Query) -> AsyncIterator[Computation]:
        """As the port says."""
        ticket = self._tickets.take(self._clock(), query.key_id, lambda: fingerprint(query))
        accepted = False
        try:
            computation = Computation(await self._engine.submit(query.submit))
            accepted = True
            try:
                yield computation
            finally:
                computation.cancel()
                self._count(computation)
        finally:
            self._tickets.give_back(ticket, self._clock(), served=accepted)

    def _count(self, computation: Computation) -> None:
        self._metrics.prompt_tokens.inc(computation.prompt_tokens)
        self._metrics.generated_tokens.inc(computation.generated_tokens)
        if computation.queue_seconds is not None:
            self._metrics.queue.observe(computation.queue_seconds)


class Computation:
    """An answer that an engine computes, and what it cost.

    ``generated_tokens`` counts those that came so far, ``queue_seconds`` is known at the end.
    """

    origin = Origin.COMPUTED

    def __init__(self, answer: Answer) -> None:
        self.prompt_tokens = answer.prompt_tokens
        self.generated_tokens = 0
        self.queue_seconds: float | None = None
        self._answer = answer
        self._events = aiter(answer)

    @property
    def started(self) -> bool:
        return self._answer.started

    def __aiter__(self) -> Computation:
        return self

    async def __anext__(self) -> Delta | Finished:
        event = await anext(self._events)
        if isinstance(event, Finished):
            # Where another server answers, the number was an estimate until now.
            self.prompt_tokens = event.prompt_tokens
            self.generated_tokens = event.completion_tokens
            self.queue_seconds = event.queue_seconds
        else:
            self.generated_tokens += event.tokens
        return event

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._answer.cancel()
