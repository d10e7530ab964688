"""The door between the edge and the engines: a place for each request, and its answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from ai_core.catalog.models import Catalog, ModelEntry
from ai_core.engine_client.port import Engine
from ai_core.errors import EngineUnavailable
from ai_core.inference import embeddings
from ai_core.inference.adapter_revisions import AdapterRevisions
from ai_core.inference.adapters import adapters_of, check_adapter
from ai_core.inference.content_filter.source import Filtering
from ai_core.inference.defaults import with_defaults
from ai_core.inference.desks import Desk
from ai_core.inference.embeddings import EmbeddingRequest, Embeddings
from ai_core.inference.generation import Generation
from ai_core.inference.metrics import AnswerMetrics
from ai_core.inference.opening import OpenRequests
from ai_core.inference.repetition.source import Repetition
from ai_core.inference.requests import GenerationRequest, to_submit
from ai_core.inference.reserving import Reserve, limits_of, reserve_nothing, tokens_in, worst_case
from ai_core.inference.sessions.sessions import Room, Sessions
from ai_core.inference.sources import AnswerSource, EngineSource, Query
from ai_core.inference.tickets import Tickets
from ai_core.inference.usage import NoteUsage, amount_of, amount_read, note_nothing


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work is taken on. Times in seconds."""

    max_sequences: int
    max_queued: int
    request_timeout: float
    drain_timeout: float
    max_queued_per_key: int | None = None
    """None: a single key may take all places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What stands around the engines. Without ``repetition``, every answer is computed; without
    ``sessions``, no request may name one; without ``reserve``, keys may use as much as there is."""

    repetition: Repetition | None = None
    sessions: Sessions | None = None
    filtering: Filtering | None = None
    note_usage: NoteUsage = note_nothing
    reserve: Reserve = reserve_nothing


OUT_OF_SERVICE = frozenset({"model_parked", "model_not_fetched", "model_too_large"})
"""Codes of EngineUnavailable with which a model's fallback answers instead."""


class Inference:
    """Answers requests with the engines of all models, which may change while requests run.

    ``engines`` holds one engine for each name in the catalog.
    """

    def __init__(
        self,
        catalog: Catalog,
        engines: Mapping[str, Engine],
        limits: Limits,
        metrics: AnswerMetrics,
        equipment: Equipment = Equipment(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests = OpenRequests(limits.drain_timeout)
        self.sessions = equipment.sessions
        self._limits = limits
        self._clock = clock
        self._equipment = equipment
        self._metrics = metrics
        self._adapters = AdapterRevisions()
        self._desks: dict[str, Desk] = {}
        self._retired: set[Desk] = set()
        self.change(catalog, engines)

    def change(self, catalog: Catalog, engines: Mapping[str, Engine]) -> list[Desk]:
        """Serve these models from now on. A model whose entry and engine are the same goes on as it is.

        Returns:
            what serves no new requests any more; each is to be handed to :meth:`retire`.
        """
        before = self._desks
        self.catalog = catalog
        self._desks = {
            entry.name: self._desk(before.get(entry.name), entry, engines[entry.name])
            for entry in catalog.entries
        }
        left = [desk for name, desk in before.items() if self._desks.get(name) is not desk]
        self._retired.update(left)
        return left

    async def retire(self, desk: Desk) -> None:
        """Returns when the requests at a desk that :meth:`change` gave are answered."""
        await desk.empty()
        await desk.close()
        self._retired.discard(desk)

    @asynccontextmanager
    async def answer(self, request: GenerationRequest) -> AsyncIterator[Generation]:
        """Entered once the engine has accepted the request; leaving stops what still runs.

        Raises:
            ModelNotFound, Overloaded, InvalidRequest, EngineUnavailable, RequestQuarantined: on entering.
            RateLimited: on entering, when the key has used what it may.
            SessionBusy, StoreUnavailable: on entering, for requests of a session.
        """
        arrival = self._clock()
        desk = self._desks[self.catalog.resolve(request.model).name]
        with self.requests.enter(), desk.busy():
            answering = partial(self._answer_somewhere, desk, arrival)
            if request.session_id is None:
                opened = answering(request)
            else:
                assert self.sessions is not None, "a request of a session needs sessions"
                room = Room(lambda: context_length(desk.engine), self._patience(request))
                opened = self.sessions.answer(request, answering, room)
            async with opened as generation:
                yield generation

    @asynccontextmanager
    async def _answer_somewhere(
        self, desk: Desk, arrival: float, request: GenerationRequest
    ) -> AsyncIterator[Generation]:
        """By the model, or by the first of its stand-ins while it is out of service."""
        async with AsyncExitStack() as stack:
            yield await self._first_in_service(stack, desk, arrival, request)

    async def _first_in_service(
        self, stack: AsyncExitStack, desk: Desk, arrival: float, request: GenerationRequest
    ) -> Generation:
        try:
            return await stack.enter_async_context(self._answer_alone(desk, arrival, request))
        except EngineUnavailable as error:
            if error.code not in OUT_OF_SERVICE:
                raise
            for other in self._stand_ins(request):
                try:
                    return await stack.enter_async_context(self._answer_alone(other, arrival, request))
                except EngineUnavailable as further:
                    if further.code not in OUT_OF_SERVICE:
                        raise
            raise

    def _stand_ins(self, request: GenerationRequest) -> Iterator[Desk]:
        """Another model's adapter of the same name would be another one."""
        if not request.adapter:
            yield from (self._desks[name] for name in request.fallbacks if name in self._desks)

    @asynccontextmanager
    async def _answer_alone(
        self, desk: Desk, arrival: float, request: GenerationRequest
    ) -> AsyncIterator[Generation]:
        model = desk.entry.name
        check_adapter(request.adapter, model, adapters_of(desk.entry, desk.engine))
        request = with_defaults(request, desk.entry)
        submit = to_submit(request, self._patience(request))
        query = Query(
            submit=await self._adapters.mark(submit, desk.engine),
            key_id=request.key_id,
            cache=request.cache,
            variant=request.choice,
        )
        reserving = self._equipment.reserve(request.key_id, limits_of(request), worst_case(request))
        at_desk = _at(desk, request.keep_alive)
        async with reserving as reservation, at_desk, desk.source.open(query) as answer:
            called = f"{model}:{request.adapter}" if request.adapter else model
            generation = Generation(answer, called, arrival, desk.metrics, self._clock)
            generation.tokens_left = reservation.tokens
            try:
                yield generation
            finally:
                desk.metrics.duration.observe(self._clock() - arrival)
                amount = amount_of(generation.settle(), request.choice)
                self._equipment.note_usage(request.key_id, model, amount)
                reservation.used = amount.tokens

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """The vectors of some texts.

        Raises:
            NeoError: as :meth:`answer`, and where the engine did not get to the end.
        """
        arrival = self._clock()
        desk = self._desks[self.catalog.resolve(request.model).name]
        entry = desk.entry
        with self.requests.enter(), desk.busy():
            query = Query(
                submit=embeddings.to_submit(request, self._patience(request)), key_id=request.key_id
            )
            reserving = self._equipment.reserve(request.key_id, request.limits, tokens_in(request.inputs))
            at_desk = _at(desk, request.keep_alive)
            async with reserving as reservation, at_desk, desk.source.open(query) as answer:
                try:
                    found = await embeddings.collect(answer, entry.name, len(request.inputs))
                    return replace(found, tokens_left=reservation.tokens)
                finally:
                    desk.metrics.duration.observe(self._clock() - arrival)
                    amount = amount_read(answer)
                    self._equipment.note_usage(request.key_id, entry.name, amount)
                    reservation.used = amount.tokens

    def _patience(self, request: GenerationRequest | EmbeddingRequest) -> float:
        """Seconds that a request may wait."""
        return self._limits.request_timeout if request.timeout is None else request.timeout

    async def close(self) -> None:
        """Break off what still runs."""
        for desk in [*self._desks.values(), *self._retired]:
            await desk.close()

    def _desk(self, before: Desk | None, entry: ModelEntry, engine: Engine) -> Desk:
        if before is not None and before.entry == entry and before.engine is engine:
            return before
        metrics = self._metrics.of(entry.name)
        tickets = Tickets(
            entry.max_sequences or self._limits.max_sequences,
            self._limits.max_queued,
            self._limits.max_queued_per_key,
        )
        source: AnswerSource = EngineSource(engine, tickets, metrics, self._clock)
        sharing = None
        if self._equipment.repetition is not None:
            source = sharing = self._equipment.repetition.in_front_of(source, engine, entry.name)
        if self._equipment.filtering is not None:
            source = self._equipment.filtering.in_front_of(source, entry.name)
        return Desk(entry, engine, source, metrics, sharing)


@asynccontextmanager
async def _at(desk: Desk, keep_alive: float | None) -> AsyncIterator[None]:
    with desk.busy(), desk.visit(keep_alive):
        yield


def context_length(engine: Engine) -> int:
    """Tokens of prompt and answer together; 0 while nobody knows."""
    return engine.ready.context_length if engine.ready is not None else 0
