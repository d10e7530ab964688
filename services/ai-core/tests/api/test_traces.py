"""Traces, as a collector gets them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from access_keys import KEY
from ai_core.api.trace_export import TraceExport
from ai_core.errors import GenerationFailed, Overloaded
from edge_server import FakeEngine, Server, echo, running_server
from trace_collector import Collector, attributes, collecting

REGISTRIES: dict[str, CollectorRegistry] = {}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@asynccontextmanager
async def traced(
    engine: FakeEngine, endpoint: str, **options: Any
) -> AsyncIterator[tuple[Server, TraceExport]]:
    """A server that sends traces to a collector."""
    export = TraceExport(endpoint, "1.2.3", REGISTRIES.setdefault(endpoint, CollectorRegistry()), **options)
    async with running_server(engine, tracing=export) as server:
        yield server, export
    await asyncio.to_thread(export.close)


def counted(collector: Collector, outcome: str) -> float:
    return REGISTRIES[collector.url].get_sample_value("neo_trace_spans_total", {"outcome": outcome}) or 0.0


def of_kind(collector: Collector, kind: str) -> list[Any]:
    return [span for span in collector.spans if ("gen_ai" in str(span.attributes)) == (kind == "model")]


async def test_an_answer_is_a_span_in_the_callers_trace_and_one_of_the_model_in_it(
    collector: Collector,
) -> None:
    async with traced(FakeEngine(script=echo), collector.url) as (server, export):
        response = await server.client.post(
            "/api/v1/chat",
            json={"prompt": "secret words", "stream": True},
            headers={"traceparent": PARENT, "tracestate": "vendor=secret"},
        )
        await asyncio.to_thread(export.flush)
        (whole,) = of_kind(collector, "http")
        (call,) = of_kind(collector, "model")
    assert whole.trace_id.hex() == call.trace_id.hex() == PARENT.split("-")[1]
    assert whole.parent_span_id.hex() == PARENT.split("-")[2]
    assert call.parent_span_id == whole.span_id
    assert whole.name == "POST /api/v1/chat"
    assert whole.start_time_unix_nano <= call.start_time_unix_nano
    assert call.end_time_unix_nano <= whole.end_time_unix_nano
    assert attributes(whole) == {
        "http.request.method": "POST",
        "http.route": "/api/v1/chat",
        "http.response.status_code": 200,
        "neo.request_id": response.headers["x-request-id"],
        "neo.key_id": KEY.id,
    }
    said = attributes(call)
    assert call.name == "chat fake-model"
    assert said.pop("gen_ai.response.time_to_first_chunk") > 0
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "neo",
        "gen_ai.request.model": "fake-model",
        "gen_ai.response.model": "fake-model",
        "gen_ai.response.id": response.headers["x-request-id"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.response.finish_reasons": ["stop"],
        "neo.queue_seconds": 0.25,
    }
    assert collector.resources[0]["service.name"] == "ai-core"
    assert collector.resources[0]["service.version"] == "1.2.3"
    assert b"secret" not in b"".join(collector.bodies)
    assert KEY.secret.encode() not in b"".join(collector.bodies)


async def test_without_a_caller_of_its_own_each_request_begins_a_trace(collector: Collector) -> None:
    async with traced(FakeEngine(script=echo), collector.url) as (server, export):
        for traceparent in ("", "nonsense", "00-0-0-01"):
            await server.client.get("/v1/models", headers={"traceparent": traceparent})
        await asyncio.to_thread(export.flush)
        spans = collector.spans
    assert len({span.trace_id for span in spans}) == 3
    assert not any(span.parent_span_id for span in spans)


async def test_a_caller_that_samples_nothing_gets_no_span(collector: Collector) -> None:
    async with traced(FakeEngine(script=echo), collector.url) as (server, export):
        await server.client.get("/v1/models", headers={"traceparent": PARENT[:-1] + "0"})
        await asyncio.to_thread(export.flush)
        assert collector.spans == []


@pytest.mark.parametrize(
    ("error", "stream", "failed"),
    [
        (Overloaded("no", retry_after=1), False, False),
        (GenerationFailed("no"), False, True),
        (GenerationFailed("no"), True, True),
    ],
)
async def test_what_failed_says_so_by_its_code(
    collector: Collector, error: Any, stream: bool, failed: bool
) -> None:
    engine = FakeEngine(script=lambda answer: answer.say("a").fail(error))
    if isinstance(error, Overloaded):
        engine.refusal = error
    async with traced(engine, collector.url) as (server, export):
        await server.chat(prompt="x", stream=stream)
        await asyncio.to_thread(export.flush)
        (whole,) = of_kind(collector, "http")
    assert attributes(whole)["error.type"] == error.code
    # Refusals are the caller's to mend; a span of a server is in error for what the server did.
    assert (whole.status.code == 2) is failed


async def test_a_collector_that_is_away_costs_a_counted_drop_and_nothing_else(collector: Collector) -> None:
    async with traced(FakeEngine(script=echo), collector.url) as (server, export):
        collector.status = 400
        assert (await server.chat(prompt="x")).status_code == 200
        await asyncio.to_thread(export.flush)
        assert counted(collector, "dropped") == 2
        collector.status = 200
        await server.chat(prompt="x")
        await asyncio.to_thread(export.flush)
        assert counted(collector, "exported") == 2
        assert len(of_kind(collector, "model")) == 1


async def test_while_the_collector_hangs_no_more_than_a_bounded_number_of_spans_wait(
    collector: Collector,
) -> None:
    async with traced(FakeEngine(script=echo), collector.url, max_waiting=3) as (server, _):
        for _ in range(5):
            assert (await server.client.get("/livez")).status_code == 200
        # Nothing was sent yet: the sender takes its time, or a batch.
        assert counted(collector, "dropped") >= 2


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    # The SDK's metrics are: redis loads them for itself wherever they are installed.
    program = (
        "import sys\n"
        "import ai_core.cli.serve, ai_core.api.application\n"
        "loaded = [name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', "
        "'opentelemetry.exporter', 'ai_core.api.trace_export', 'requests'))]\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
