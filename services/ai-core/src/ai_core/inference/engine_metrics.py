"""The engines' own numbers, read when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ai_core.engine.messages import Stats
from ai_core.inference.served import ServedEngine
from ai_core.residency.recovery import Cause


def _kv_usage(stats: Stats) -> float:
    """The part of the KV cache that running sequences hold; cached prefixes give way, so they don't count."""
    return (stats.kv_cells_used - stats.kv_cells_cached) / stats.kv_cells if stats.kv_cells else 0.0


GAUGES: dict[str, tuple[str, Callable[[Stats], float]]] = {
    "neo_requests_running": ("Sequences that are being computed.", lambda stats: stats.running),
    "neo_requests_waiting": ("Requests that wait in the engine.", lambda stats: stats.waiting),
    "neo_requests_paused": ("Sequences put aside for want of KV room.", lambda stats: stats.paused),
    "neo_kv_cache_usage_ratio": ("KV cells that running sequences hold, 0 to 1.", _kv_usage),
    "neo_kv_cache_cells": ("KV cells there are.", lambda stats: stats.kv_cells),
    "neo_kv_cache_cached_cells": ("KV cells that keep prefixes only.", lambda stats: stats.kv_cells_cached),
    "neo_engine_resident_bytes": ("Memory of the engine process.", lambda stats: stats.resident_bytes),
}
COUNTERS: dict[str, tuple[str, Callable[[Stats], float]]] = {
    "neo_prefix_cache_queries": ("Prompt tokens looked up in the prefix cache.", lambda s: s.prefix_queries),
    "neo_prefix_cache_hits": ("Prompt tokens found in the prefix cache.", lambda s: s.prefix_hits),
    "neo_engine_steps": ("Steps of the engine.", lambda s: s.steps),
    "neo_engine_step_seconds": ("Time spent in steps.", lambda s: s.step_seconds),
    "neo_engine_pauses": ("Sequences put aside for want of KV room.", lambda s: s.pauses),
    "neo_engine_evictions": ("Cached prefixes given up for want of KV room.", lambda s: s.evictions),
}


REASONS = tuple(cause for cause in Cause if cause is not Cause.CLOSED)
"""Why an engine may be replaced."""


class EngineCollector(Collector):
    """Counters begin anew with each engine process, which Prometheus' ``rate`` expects."""

    def __init__(self, engines: Mapping[str, ServedEngine]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        """All families, with one series per model."""
        for name, (text, value) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["model"])
            for model, engine in self._engines.items():
                gauge.add_metric([model], value(engine.stats))
            yield gauge
        for name, (text, value) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=["model"])
            for model, engine in self._engines.items():
                counter.add_metric([model], value(engine.stats))
            yield counter
        yield self._ready()
        yield self._restarts()

    def _ready(self) -> Metric:
        family = GaugeMetricFamily("neo_engine_ready", "1 while the model is resident.", labels=["model"])
        for model, engine in self._engines.items():
            family.add_metric([model], float(engine.state == "ready"))
        return family

    def _restarts(self) -> Metric:
        family = CounterMetricFamily(
            "neo_engine_restarts", "Engines that were replaced.", labels=["model", "reason"]
        )
        for model, engine in self._engines.items():
            # All of them, also those that never happened: what begins with 1 has not grown for Prometheus.
            for reason in REASONS:
                family.add_metric([model, reason], engine.restarts.get(reason, 0))
        return family
