"""Sends traces to an OpenTelemetry collector: OTLP over HTTP, from a thread of its own.

Imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set. Spans are made when a request has ended, so a request
pays for no more than two small objects; a collector that is away costs what it did not take, counted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter

from ai_core.api.tracing import RequestRecord, failure, http_attributes, model_call, span_name
from servicekit.logging import get_logger

PATH = "/v1/traces"
EXPORT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
MAX_WAITING = 4_096
"""Spans on their way; more are dropped, and counted."""
BATCH = 256
DELAY_MS = 1_000.0

log = get_logger(__name__)


class _CountingExporter(SpanExporter):
    """Counts what the collector took, and says once that it takes nothing."""

    def __init__(self, exporter: SpanExporter, spans: Counter) -> None:
        self._exporter = exporter
        self._exported = spans.labels("exported")
        self._dropped = spans.labels("dropped")
        self._failing = False
        self.done = 0
        """Spans that were handed over or given up; written by the sending thread only."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        taken = result is SpanExportResult.SUCCESS
        self.done += len(spans)
        (self._exported if taken else self._dropped).inc(len(spans))
        if taken is self._failing:
            self._failing = not taken
            if taken:
                log.info("traces are taken again")
            else:
                log.warning("traces dropped: the collector of OTEL_EXPORTER_OTLP_ENDPOINT does not take them")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _BoundedProcessor(SpanProcessor):
    """Hands ended spans to the sending thread, unless too many wait there."""

    def __init__(self, exporter: _CountingExporter, spans: Counter, max_waiting: int) -> None:
        self._exporter = exporter
        self._dropped = spans.labels("dropped")
        self._max_waiting = max_waiting
        self._handed = 0
        self._batches = BatchSpanProcessor(
            exporter,
            # Never the one to drop: what it drops, nobody counts.
            max_queue_size=max_waiting + BATCH,
            max_export_batch_size=BATCH,
            schedule_delay_millis=DELAY_MS,
        )

    def on_end(self, span: ReadableSpan) -> None:
        if self._handed - self._exporter.done >= self._max_waiting:
            self._dropped.inc()
        elif span.context is not None and span.context.trace_flags.sampled:
            self._handed += 1
            self._batches.on_end(span)

    def shutdown(self) -> None:
        # The library waits up to half a minute for a collector that is away.
        closing = threading.Thread(target=self._batches.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batches.force_flush(timeout_millis)


class TraceExport:
    """Implements :class:`ai_core.api.tracing.Tracing`."""

    def __init__(
        self, endpoint: str, version: str, registry: CollectorRegistry, *, max_waiting: int = MAX_WAITING
    ) -> None:
        """``endpoint``: the collector's base address, without the path."""
        # Their lines would name the collector's address, and come once per batch while it is away.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        spans = Counter(
            "neo_trace_spans", "Spans of traces, by what became of them.", ["outcome"], registry=registry
        )
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + PATH, timeout=EXPORT_SECONDS)
        self._processor = _BoundedProcessor(_CountingExporter(exporter, spans), spans, max_waiting)
        resource = Resource.create({"service.name": "ai-core", "service.version": version})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("ai_core", version)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, request: RequestRecord) -> None:
        """One span for the request, and one in it for what the model did."""
        call = model_call(request)
        # The caller's tracestate is free text of theirs, and stays behind.
        carrier = {"traceparent": request.traceparent} if request.traceparent else {}
        whole = self._tracer.start_span(
            span_name(request),
            self._propagator.extract(carrier),
            SpanKind.SERVER,
            http_attributes(request),
            start_time=request.began,
        )
        failed = failure(request)
        if request.status >= 500 or (failed and request.status < 400):
            whole.set_status(Status(StatusCode.ERROR))
        if call is not None:
            inner = self._tracer.start_span(
                call.name,
                set_span_in_context(whole),
                SpanKind.CLIENT,
                call.attributes,
                start_time=request.began,
            )
            if failed:
                inner.set_status(Status(StatusCode.ERROR))
            inner.end(request.ended)
        whole.end(request.ended)

    def flush(self) -> None:
        """Send what waits; blocks for up to the time of one export."""
        self._processor.force_flush()

    def close(self) -> None:
        """Send what waits, within two seconds; blocks. What is left is lost."""
        self._processor.shutdown()
