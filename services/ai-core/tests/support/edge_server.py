"""The edge on a free port, over an engine that does exactly what a test tells it."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from access_keys import HEADERS, temporary_access
from ai_core.access.administration import KeyWish
from ai_core.access.assembly import Access
from ai_core.access.caller import Scope
from ai_core.access.limits.ledger import Ledger
from ai_core.access.limits.limiter import Limiter
from ai_core.access.limits.memory_ledger import MemoryLedger
from ai_core.access.limits.metrics import LimitMetrics
from ai_core.api.application import create_application
from ai_core.api.context import ApiContext
from ai_core.api.server import configuration
from ai_core.catalog.models import Catalog, ModelEntry
from ai_core.catalog.revision import Revision
from ai_core.engine.messages import CallPiece, Delta, Finished, Ready, Stats, Submit, TokenLogprob
from ai_core.errors import EngineUnavailable, NeoError
from ai_core.inference.batches.archive import Batches
from ai_core.inference.content_filter.source import Filtering
from ai_core.inference.engine_metrics import EngineCollector
from ai_core.inference.metrics import AnswerMetrics
from ai_core.inference.repetition.cache import ResponseCache
from ai_core.inference.repetition.metrics import RepetitionMetrics
from ai_core.inference.repetition.source import Repetition
from ai_core.inference.service import Equipment, Inference, Limits
from ai_core.inference.sessions.archive import Archive
from ai_core.inference.sessions.sessions import Sessions
from ai_core.residency.recovery import Cause
from ai_core.storage.batches import BatchRepository
from servicekit.key_value.embedded import EmbeddedStore
from servicekit.key_value.port import KeyValueStore
from servicekit.storage.sealing import PlainSeal

JSON = "application/json"
LIMITS = Limits(max_sequences=2, max_queued=2, request_timeout=30, drain_timeout=30)
READY = Ready(
    backend="fake",
    description="a fake",
    context_length=4096,
    kv_cells=4096,
    max_sequences=2,
    vocabulary=1000,
    parameters=1,
    has_chat_template=True,
    prefix="any",
    load_seconds=0.0,
    weights_bytes=1,
)


class FakeAnswer:
    """Gives what the test puts in: text, the end, or an error."""

    def __init__(self, request: Submit, prompt_tokens: int) -> None:
        self.request = request
        self.prompt_tokens = prompt_tokens
        self.cancelled = asyncio.Event()
        self._events: asyncio.Queue[Delta | Finished | BaseException] = asyncio.Queue()
        self._tokens = 0
        self._thoughts = 0
        self._begun = False
        self._over = False

    @property
    def started(self) -> bool:
        return self._begun or self._tokens > 0

    def begin(self) -> None:
        """Its turn has come; no text yet."""
        self._begun = True

    def __aiter__(self) -> FakeAnswer:
        return self

    async def __anext__(self) -> Delta | Finished:
        if self._over:
            raise StopAsyncIteration
        event = await self._events.get()
        if isinstance(event, BaseException):
            self._over = True
            raise event
        self._over = isinstance(event, Finished)
        return event

    def cancel(self) -> None:
        self.cancelled.set()

    def say(self, *texts: str) -> FakeAnswer:
        for text in texts:
            self._tokens += 1
            self._events.put_nowait(Delta(1, text, 1))
        return self

    def weigh(self, text: str, *entries: TokenLogprob) -> FakeAnswer:
        """Text with the log probabilities of its tokens."""
        self._tokens += len(entries)
        self._events.put_nowait(Delta(1, text, len(entries), list(entries)))
        return self

    def think(self, *thoughts: str) -> FakeAnswer:
        """Reasoning, one token each."""
        for thought in thoughts:
            self._tokens += 1
            self._thoughts += 1
            self._events.put_nowait(Delta(1, "", 1, reasoning=thought))
        return self

    def call(self, index: int, name: str, *arguments: str) -> FakeAnswer:
        """A call of a function: its name, then the pieces of its arguments."""
        for piece in (CallPiece(index, name), *(CallPiece(index, "", text) for text in arguments)):
            self._tokens += 1
            self._events.put_nowait(Delta(1, "", 1, calls=[piece]))
        return self

    def finish(self, reason: Any = "stop", text: str = "") -> None:
        counts = (self.prompt_tokens, self._tokens, 2, 0.25, 0.5)
        self._events.put_nowait(Finished(1, reason, text, *counts, reasoning_tokens=self._thoughts))

    def embed(self, *vectors: list[float]) -> None:
        """The end of a request for embeddings."""
        data = b"".join(array("f", vector).tobytes() for vector in vectors)
        self._events.put_nowait(Finished(1, "stop", "", self.prompt_tokens, 0, 0, 0.25, 0.5, vectors=data))

    def fail(self, error: BaseException) -> None:
        self._events.put_nowait(error)


@dataclass
class FakeEngine:
    """Implements the port. ``script`` says what becomes of a request; without it, the test does."""

    script: Callable[[FakeAnswer], None] | None = None
    refusal: NeoError | None = None
    state: str = "ready"
    load_progress: float = 1.0
    restarts: dict[Cause, int] = field(default_factory=dict)
    stats: Stats = field(default_factory=Stats)
    ready: Ready | None = READY
    answers: list[FakeAnswer] = field(default_factory=list)
    """Those that are under way or were."""
    requests: deque[Submit] = field(default_factory=lambda: deque(maxlen=100))
    accepting: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: requests wait in ``submit``."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: int = 0
    """Callers that left while they waited in ``submit``."""

    def __post_init__(self) -> None:
        self.accepting.set()

    async def submit(self, request: Submit) -> FakeAnswer:
        wanted = (request.messages, request.prompt, request.inputs)
        assert sum(one is not None for one in wanted) == 1
        assert request.max_tokens >= 1
        self.requests.append(request)
        self.arrived.set()
        try:
            await self.accepting.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.refusal is not None:
            raise self.refusal
        answer = FakeAnswer(request, prompt_tokens=7)
        self.answers.append(answer)
        if self.script is not None:
            self.script(answer)
        return answer

    async def next_answer(self) -> FakeAnswer:
        """The first answer that this has not given out yet; waits until there is one."""
        while not self.answers:
            self.arrived.clear()
            await self.arrived.wait()
            await asyncio.sleep(0)
        return self.answers.pop(0)

    def start(self) -> None:
        pass

    async def set_threads(self, decode: int, batch: int) -> None:
        pass

    async def close(self) -> None:
        for answer in self.answers:
            answer.fail(EngineUnavailable("The engine was closed.", retry_after=1))


def echo(answer: FakeAnswer) -> None:
    """Says back the last message, or the raw prompt, word by word."""
    request = answer.request
    text = request.messages[-1].content if request.messages else request.prompt or ""
    answer.say(*(word + " " for word in text.split(" "))).finish()


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error in a response, which must have the one shape that all errors have."""
    return checked_error(response.json())


def checked_error(body: dict[str, Any]) -> dict[str, Any]:
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert 0 < len(error["message"]) <= 600
    return error


def events_of(text: str) -> list[dict[str, Any]]:
    """The JSON data of a stream of server-sent events; ``[DONE]`` must come last and is left out."""
    events = []
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    for number, block in enumerate(blocks):
        data = [line.removeprefix("data: ") for line in block.split("\n") if line.startswith("data: ")]
        assert len(data) == 1
        if data[0] == "[DONE]":
            assert number == len(blocks) - 1
        else:
            events.append(json.loads(data[0]))
    return events


@dataclass
class Server:
    """A running server, and a client for it."""

    engine: FakeEngine
    context: ApiContext
    application: ASGIApp
    client: httpx.AsyncClient
    """Sends ``access_keys.KEY``: every scope, no limits."""
    anonymous: httpx.AsyncClient
    """Sends no key."""
    port: int

    async def new_key(self, *scopes: Scope, **wish: Any) -> str:
        """A further key; every scope unless told otherwise. ``wish``: fields of KeyWish."""
        wished = KeyWish(name="test", scopes=frozenset(scopes or Scope), **wish)
        return str((await self.context.access.keys.create(wished)).key)

    async def chat(self, **body: Any) -> httpx.Response:
        return await self.client.post("/api/v1/chat", json=body)

    async def generate(self, **body: Any) -> httpx.Response:
        return await self.client.post("/api/v1/generate", json=body)

    async def openai(self, **body: Any) -> httpx.Response:
        body.setdefault("messages", [{"role": "user", "content": "Hello"}])
        return await self.client.post("/v1/chat/completions", json=body)

    async def raw(self, content: bytes, path: str = "/api/v1/chat", **headers: str) -> httpx.Response:
        return await self.client.post(path, content=content, headers={"content-type": JSON} | headers)

    async def metric(self, name: str, **labels: str) -> float:
        """One value as Prometheus reads it; 0 where there is no such series yet."""
        text = (await self.client.get("/api/v1/metrics")).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return 0.0

    async def until(self, condition: Callable[[], bool]) -> None:
        """Lets everything else run until the condition holds."""
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)

    async def until_idle(self) -> None:
        """Returns when every place is free again."""
        await self.context.inference.requests.wait_until_nobody()


def make_context(
    engine: FakeEngine,
    limits: Limits,
    access: Access,
    max_body_bytes: int = 100_000,
    *,
    filtering: Filtering | None = None,
    store: KeyValueStore | None = None,
    ledger: Ledger | None = None,
    **more: Any,
) -> ApiContext:
    """``more`` are further fields of the context."""
    store = EmbeddedStore(10_000_000) if store is None else store
    registry = CollectorRegistry()
    limiter = Limiter(ledger or MemoryLedger(), access.usage, LimitMetrics(registry))
    engines = {"fake-model": engine}
    registry.register(EngineCollector(engines))
    catalog = Catalog([ModelEntry("fake-model", Path("fake.gguf"), aliases=("fake-alias",))])
    return ApiContext(
        inference=Inference(
            catalog,
            engines,
            limits,
            AnswerMetrics(registry),
            Equipment(
                repetition=repetition_over(store, catalog, registry),
                sessions=Sessions(Archive(store, PlainSeal(), ttl=1000.0), max_turns=20),
                note_usage=access.usage.note,
                filtering=filtering,
                reserve=limiter.reserve,
            ),
        ),
        engines=engines,
        registry=registry,
        access=access,
        limiter=limiter,
        max_body_bytes=max_body_bytes,
        batches=Batches(BatchRepository(access.database), PlainSeal()),
        version="0.0.0",
        **more,
    )


def repetition_over(store: KeyValueStore, catalog: Catalog, registry: CollectorRegistry) -> Repetition:
    """The cache as it is by default."""
    revisions = {entry.name: Revision(entry.path) for entry in catalog.entries}
    return Repetition(ResponseCache(store, PlainSeal(), ttl=1000.0), revisions, RepetitionMetrics(registry))


@asynccontextmanager
async def running_server(
    engine: FakeEngine, limits: Limits = LIMITS, database: str | None = None, **more: Any
) -> AsyncIterator[Server]:
    """``database`` is an empty one, if it shall not be a file; ``more`` goes to :func:`make_context`."""
    async with temporary_access(database) as access:
        context = make_context(engine, limits, access, **more)
        application = create_application(context)
        async with listening(application) as port:
            url = f"http://127.0.0.1:{port}"
            async with (
                httpx.AsyncClient(base_url=url, timeout=20, trust_env=False, headers=HEADERS) as client,
                httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as anonymous,
            ):
                yield Server(engine, context, application, client, anonymous, port)


@asynccontextmanager
async def listening(application: ASGIApp) -> AsyncIterator[int]:
    """uvicorn's protocol as `ai-core serve` configures it, on a free port; uvicorn's main loop would
    only add its naps to each test."""
    config = configuration(application)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    http_protocol: Any = config.http_protocol_class
    factory = partial(http_protocol, config=config, server_state=state, app_state={})
    server = await loop.create_server(factory, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=5)
        await server.wait_closed()
