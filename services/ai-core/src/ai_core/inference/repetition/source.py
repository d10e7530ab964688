"""The source that asks nobody twice: cache first, then a computation that all may join."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from ai_core.catalog.revision import Revision
from ai_core.engine_client.port import Engine, Residing
from ai_core.errors import NeoError, Overloaded, StoreUnavailable
from ai_core.inference.repetition.cache import KeptAnswer, ResponseCache
from ai_core.inference.repetition.flight import Flight, Subscription
from ai_core.inference.repetition.metrics import RepetitionMetrics
from ai_core.inference.repetition.policy import applies, identity
from ai_core.inference.sources import AnswerSource, Query, SourcedAnswer

MAX_SUBSCRIBERS = 1_024
"""Of one computation. Those who join take no ticket, because they cost the engine nothing; but each is
an open connection."""
COMPUTING_TIMEOUT = 86_400.0
"""The deadlines of those who wait are their own: the computation goes on as long as anybody waits."""

_Key = tuple[str, int]
"""Where the answer would be kept, and the priority: who is more urgent does not wait for who is less."""


class SharingSource:
    """Implements :class:`ai_core.inference.sources.AnswerSource` for one model, in front of its engine.

    All methods belong to one event loop.
    """

    def __init__(
        self,
        engine: AnswerSource,
        cache: ResponseCache,
        revision: Callable[[], Awaitable[str]],
        metrics: RepetitionMetrics,
        model: str,
        delay: Callable[[], NeoError | None] = lambda: None,
    ) -> None:
        """``revision`` names what would answer now: weights, and how they are run. ``model`` is for the
        metrics. ``delay`` says what keeps the engine from answering at once, if anything does."""
        self._delay = delay
        self._engine = engine
        self._model = model
        self._cache = cache
        self._revision = revision
        self._metrics = metrics
        self._flights: dict[_Key, Flight] = {}
        self._work: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, query: Query) -> AsyncIterator[SourcedAnswer]:
        """As the port says. Raises Overloaded, too, when too many wait for the same answer."""
        if not applies(query.cache, query.submit):
            self._metrics.bypassed(self._model)
            async with self._engine.open(query) as computation:
                yield computation
            return
        revision = await self._revision()
        place = self._cache.place(revision, query.key_id, identity(query.submit, query.variant))
        key = (place, query.submit.priority)
        flight = self._flights.get(key) or self._take_off(key, query)
        subscription = Subscription(flight, timeout=query.submit.timeout, delay=self._delay)
        with self._seat(flight, subscription):
            await subscription.accepted()
            self._metrics.answered(self._model, subscription.origin)
            yield subscription

    async def close(self) -> None:
        """Break off what is still being computed or stored."""
        for work in self._work:
            work.cancel()
        if self._work:
            await asyncio.wait(self._work)

    @contextmanager
    def _seat(self, flight: Flight, subscription: Subscription) -> Iterator[None]:
        """Be one of those who want it. When the last one leaves, it is stopped."""
        if len(flight.subscribers) >= MAX_SUBSCRIBERS:
            raise Overloaded("Too many requests wait for this very answer. Try again soon.", retry_after=1.0)
        flight.board(subscription)
        try:
            yield
        finally:
            flight.leave(subscription)

    def _take_off(self, key: _Key, query: Query) -> Flight:
        flight = Flight(partial(self._fly, key[0], query), partial(self._forget, key))
        self._flights[key] = flight
        self._work.add(flight.work)
        flight.work.add_done_callback(self._work.discard)
        return flight

    def _forget(self, key: _Key, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _fly(self, place: str, query: Query, flight: Flight) -> None:
        kept = await self._kept(place)
        if kept is not None:
            flight.accept(kept.prompt_tokens)
            flight.add(*kept.deltas, kept.finished)
            return
        submit = msgspec.structs.replace(query.submit, timeout=COMPUTING_TIMEOUT)
        async with self._engine.open(replace(query, submit=submit)) as computation:
            flight.accept(computation.prompt_tokens, computation)
            async for event in computation:
                flight.add(event)
        # Until this is done, whoever asks the same finds the answer here.
        answer = KeptAnswer.of(computation.prompt_tokens, flight.events)
        if answer is not None:
            await self._keep(place, answer)

    async def _kept(self, place: str) -> KeptAnswer | None:
        try:
            return await self._cache.get(place)
        except StoreUnavailable:
            self._metrics.store_failed("read")
            return None

    async def _keep(self, place: str, answer: KeptAnswer) -> None:
        try:
            await self._cache.put(place, answer)
        except StoreUnavailable:
            self._metrics.store_failed("write")


@dataclass(frozen=True, slots=True)
class Repetition:
    """What it takes to compute nothing twice, for all models. ``revisions`` has one for each."""

    cache: ResponseCache
    revisions: Mapping[str, Revision]
    metrics: RepetitionMetrics

    def in_front_of(self, source: AnswerSource, engine: Engine, model: str) -> SharingSource:
        """The source to ask instead of ``source``, which computes with ``engine``."""

        async def revision() -> str:
            # Looked up each time: a model that was configured anew has another one.
            return await self.revisions[model].current(engine.ready)

        delay = engine.delay if isinstance(engine, Residing) else lambda: None
        return SharingSource(source, self.cache, revision, self.metrics, model, delay)
