"""A model that another server answers for, as the rest of this process sees it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import httpx
from msgspec import structs

from ai_core.engine.messages import Ready, Stats, Submit
from ai_core.engine_client.answer import BUFFERED_EVENTS, InFlight, SocketAnswer
from ai_core.engine_client.remote.body import body_of
from ai_core.engine_client.remote.breaker import Breaker
from ai_core.engine_client.remote.dialect import Facts, facts_of, missing
from ai_core.engine_client.remote.exchange import Exchange, Line, bounded, timeout_of
from ai_core.engine_client.remote.refusals import error_of
from ai_core.engine_client.remote.upstream import Upstream, headers_of
from ai_core.engine_client.remote.wire import Nonsense, parsed
from ai_core.errors import DeadlineExceeded, EngineUnavailable, GenerationFailed, NeoError
from servicekit.logging import get_logger

LISTING_SECONDS = 10.0
MAX_LISTING_BYTES = 8 * 1024 * 1024
LOOK_SECONDS = 0.5
"""While a request tries a server that was left alone, nobody else does; so often it is looked whether that is
over."""
NO_LISTING = frozenset({403, 404, 405, 501})
"""From servers that have no list of models, or none for this key."""

_log = get_logger(__name__)


class RemoteEngine:
    """Implements :class:`ai_core.engine_client.port.Engine`, and what the edge wants to know besides.

    Nothing is loaded here. The first request, or :meth:`start`, asks the server what it is; when it fails
    again and again, it is left alone for growing times (``parked``) and looked at until it answers.
    All methods belong to one event loop.
    """

    def __init__(
        self,
        model: str,
        upstream: Upstream,
        *,
        kind: Literal["generation", "embedding"] = "generation",
        buffered_events: int = BUFFERED_EVENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``model`` is its name here, for messages and logs."""
        self.model = model
        self._kind = kind
        self._buffered_events = buffered_events
        # As many connections as there are tickets. No proxy that a variable happens to name: prompts go
        # where the operator said, and nowhere else.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
        client = httpx.AsyncClient(limits=limits, trust_env=False)
        self._line = Line(model, upstream, client, Breaker(), clock)
        self._facts: Facts | None = None
        self._ready: Ready | None = None
        self._learning: asyncio.Task[Facts] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)
        self._work: dict[int, asyncio.Task[None]] = {}
        self._closed = False

    @property
    def state(self) -> str:
        """``stopped`` until the server was asked what it is, ``loading`` meanwhile, then ``ready`` or
        ``parked``."""
        if self._line.breaker.open:
            return "parked"
        if self._facts is not None:
            return "ready"
        return "loading" if self._learning is not None else "stopped"

    @property
    def load_progress(self) -> float:
        """1 once the server has said what it is."""
        return float(self._facts is not None)

    @property
    def restarts(self) -> Mapping[Any, int]:
        """None: there is no process of ours."""
        return {}

    @property
    def ready(self) -> Ready | None:
        """What the server says of the model; zeros for what it does not say."""
        return self._ready

    @property
    def stats(self) -> Stats:
        """How many requests are there now; the rest is known to the server alone."""
        return Stats(running=len(self._work))

    def start(self) -> None:
        """Begin to ask the server what it is; returns at once. Raises EngineUnavailable."""
        self._refuse_if_closed()
        if self._line.breaker.open:
            raise self._line.parked()
        if self._facts is None:
            self._begin_to_learn()

    async def submit(self, request: Submit) -> SocketAnswer:
        """As the port says; returns when the server has accepted the request.

        Raises:
            InvalidRequest: refused by the server, or it asks for what the server is not known to honour.
            Overloaded, DeadlineExceeded, EngineUnavailable, UpstreamUnavailable, UpstreamFailed.
        """
        self._refuse_if_closed()
        began = self._line.clock()
        facts = await self._known(request.timeout)
        body = body_of(request, self._line.upstream.model, facts)
        left = None if request.timeout is None else request.timeout - (self._line.clock() - began)
        in_flight = InFlight(
            structs.replace(request, id=next(self._ids), timeout=left), self._cancel, self._buffered_events
        )
        task = asyncio.create_task(self._answer(in_flight, Exchange(self._line, in_flight, body)))
        self._work[in_flight.request.id] = task
        try:
            return SocketAnswer(in_flight, await in_flight.accepted)
        except asyncio.CancelledError:
            in_flight.cancel()
            raise

    def configure(
        self, upstream: Upstream, *, kind: Literal["generation", "embedding"] = "generation"
    ) -> None:
        """The operator says something else of it now. Requests under way end as they began; the next one
        asks the server what it is."""
        if (upstream, kind) == (self._line.upstream, self._kind):
            return
        for task in (self._learning, self._watching):
            if task is not None:
                task.cancel()
        self._kind = kind
        self._line = replace(self._line, upstream=upstream, breaker=Breaker())
        self._learning = self._watching = self._facts = self._ready = None

    async def until_idle(self) -> None:
        """Returns when no request is under way."""
        while self._work:
            await asyncio.wait(self._work.values())

    async def set_threads(self, decode: int, batch: int) -> None:
        """There are none here."""

    async def close(self) -> None:
        """Hang up. Requests still running fail with EngineUnavailable."""
        self._closed = True
        tasks = [*self._work.values(), *(one for one in (self._learning, self._watching) if one)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._line.client.aclose()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise EngineUnavailable(f"The model '{self.model}' is shut down.", retry_after=5.0)

    def _cancel(self, request_id: int) -> None:
        if (task := self._work.get(request_id)) is not None:
            task.cancel()

    async def _answer(self, in_flight: InFlight, exchange: Exchange) -> None:
        """The whole life of a request. It ends with the task, whose cancelling hangs up."""
        try:
            await exchange.run()
        except asyncio.CancelledError:
            in_flight.fail(self._broken_off())
        except NeoError as error:
            in_flight.fail(error)
        finally:
            if not in_flight.ended:
                in_flight.fail(GenerationFailed("The answer broke off. Try again."))
            del self._work[in_flight.request.id]
            self._watch()

    def _broken_off(self) -> NeoError:
        if self._closed:
            return EngineUnavailable(f"The model '{self.model}' is shut down.", retry_after=5.0)
        return GenerationFailed("The answer was stopped before its end. Try again.", code="cancelled")

    async def _known(self, patience: float | None) -> Facts:
        """What the server is; asked once for all who wait."""
        if self._facts is not None:
            return self._facts
        if self._line.breaker.open and self._line.breaker.seconds_left(self._line.clock()) > 0:
            raise self._line.parked()
        try:
            async with asyncio.timeout(patience):
                return await asyncio.shield(self._begin_to_learn())
        except TimeoutError as error:
            raise DeadlineExceeded("The request waited longer than its timeout allows.") from error

    def _begin_to_learn(self) -> asyncio.Task[Facts]:
        if self._learning is None:
            self._learning = asyncio.create_task(self._learn())
            self._learning.add_done_callback(self._has_learnt)
        return self._learning

    def _has_learnt(self, task: asyncio.Task[Facts]) -> None:
        if self._learning is task:
            self._learning = None
        # Those who wait are told; where nobody does, the state says it.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("remote model not reached", model=self.model, error=getattr(error, "code", "?"))
        self._watch()

    async def _learn(self) -> Facts:
        """Ask for the list of models. Raises NeoError."""
        with self._line.attempt():
            facts = await self._list()
        self._line.breaker.answered_probe()
        self._facts, self._ready = facts, ready_of(facts, self._line.upstream.model, self._kind)
        return facts

    async def _list(self) -> Facts:
        upstream = self._line.upstream
        timeout = timeout_of(upstream, LISTING_SECONDS)
        async with self._line.client.stream(
            "GET", upstream.url + "/models", headers=headers_of(upstream), timeout=timeout
        ) as response:
            content = await bounded(response, MAX_LISTING_BYTES)
        if response.status_code in NO_LISTING:
            return Facts()
        if response.status_code != 200:
            raise error_of(self.model, response.status_code, response.headers, content)
        try:
            return facts_of(parsed(content, "the list of models"), upstream.model)
        except Nonsense:
            return Facts()

    def _watch(self) -> None:
        """While the server is left alone, somebody looks whether it is back."""
        idle = self._watching is None or self._watching.done()
        if self._line.breaker.open and idle and not self._closed:
            self._watching = asyncio.create_task(self._until_it_is_back())

    async def _until_it_is_back(self) -> None:
        since = self._line.clock()
        _log.warning("remote model parked", model=self.model)
        while self._line.breaker.open:
            await asyncio.sleep(self._line.breaker.seconds_left(self._line.clock()) or LOOK_SECONDS)
            try:
                # It may be another one now: what it is, is asked anew.
                await self._learn()
            except NeoError:
                continue
        _log.info("remote model is back", model=self.model, seconds=round(self._line.clock() - since, 1))


def ready_of(facts: Facts, model: str, kind: Literal["generation", "embedding"]) -> Ready:
    """What is known of a remote model, as engines say it."""
    return Ready(
        backend="remote",
        description=f"{model} ({facts.dialect.name})",
        context_length=facts.context_length,
        kv_cells=0,
        max_sequences=0,
        vocabulary=0,
        parameters=0,
        has_chat_template=kind == "generation",
        supports_tools=kind == "generation",
        prefix="none",
        load_seconds=0.0,
        weights_bytes=0,
        missing=missing(facts.dialect),
        kind=kind,
    )
