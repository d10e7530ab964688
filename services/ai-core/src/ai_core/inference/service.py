"""The door between the edge and the engines: a place for each request, and its answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from ai_core.catalog.models import Catalog
from ai_core.engine_client.port import Engine
from ai_core.inference import embeddings
from ai_core.inference.content_filter.source import Filtering
from ai_core.inference.embeddings import EmbeddingRequest, Embeddings
from ai_core.inference.generation import Generation
from ai_core.inference.metrics import AnswerMetrics, ModelMetrics
from ai_core.inference.opening import OpenRequests
from ai_core.inference.repetition.source import Repetition, SharingSource
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


@dataclass(frozen=True, slots=True)
class _Desk:
    """Everything about one model that a request needs."""

    engine: Engine
    source: AnswerSource
    metrics: ModelMetrics


class Inference:
    """Answers requests with the engines of all models.

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
        self.catalog = catalog
        self.requests = OpenRequests(limits.drain_timeout)
        self.sessions = equipment.sessions
        self._limits = limits
        self._clock = clock
        self._equipment = equipment
        self._sharing: list[SharingSource] = []
        self._desks = {name: self._desk(name, engine, metrics.of(name)) for name, engine in engines.items()}

    @asynccontextmanager
    async def answer(self, request: GenerationRequest) -> AsyncIterator[Generation]:
        """Entered once the engine has accepted the request; leaving stops what still runs.

        Raises:
            ModelNotFound, Overloaded, InvalidRequest, EngineUnavailable, RequestQuarantined: on entering.
            RateLimited: on entering, when the key has used what it may.
            SessionBusy, StoreUnavailable: on entering, for requests of a session.
        """
        arrival = self._clock()
        entry = self.catalog.resolve(request.model)
        desk = self._desks[entry.name]
        with self.requests.enter():
            answering = partial(self._answer_alone, desk, entry.name, arrival)
            if request.session_id is None:
                opened = answering(request)
            else:
                assert self.sessions is not None, "a request of a session needs sessions"
                room = Room(lambda: context_length(desk.engine), self._patience(request))
                opened = self.sessions.answer(request, answering, room)
            async with opened as generation:
                yield generation

    @asynccontextmanager
    async def _answer_alone(
        self, desk: _Desk, model: str, arrival: float, request: GenerationRequest
    ) -> AsyncIterator[Generation]:
        query = Query(
            submit=to_submit(request, self._patience(request)),
            key_id=request.key_id,
            cache=request.cache,
            variant=request.choice,
        )
        reserving = self._equipment.reserve(request.key_id, limits_of(request), worst_case(request))
        async with reserving as reservation, desk.source.open(query) as answer:
            generation = Generation(answer, model, arrival, desk.metrics, self._clock)
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
        entry = self.catalog.resolve(request.model)
        desk = self._desks[entry.name]
        with self.requests.enter():
            query = Query(
                submit=embeddings.to_submit(request, self._patience(request)), key_id=request.key_id
            )
            reserving = self._equipment.reserve(request.key_id, request.limits, tokens_in(request.inputs))
            async with reserving as reservation, desk.source.open(query) as answer:
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
        for source in self._sharing:
            await source.close()

    def _desk(self, name: str, engine: Engine, metrics: ModelMetrics) -> _Desk:
        tickets = Tickets(
            self._limits.max_sequences, self._limits.max_queued, self._limits.max_queued_per_key
        )
        source: AnswerSource = EngineSource(engine, tickets, metrics, self._clock)
        if self._equipment.repetition is not None:
            source = self._equipment.repetition.in_front_of(source, engine, name)
            self._sharing.append(source)
        if self._equipment.filtering is not None:
            source = self._equipment.filtering.in_front_of(source, name)
        return _Desk(engine, source, metrics)


def context_length(engine: Engine) -> int:
    """Tokens of prompt and answer together; 0 while nobody knows."""
    return engine.ready.context_length if engine.ready is not None else 0
