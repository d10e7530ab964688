"""What Prometheus is told of the models in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ai_core.residency.planning import Standing

_LOAD_BUCKETS = (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
_WAIT_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


class FleetMetrics:
    """What has happened, counted and measured. Times in seconds."""

    def __init__(self) -> None:
        self.loads = Counter(
            "neo_model_loads",
            "Loads of a model that ended well (ready) or not (failed).",
            ["model", "outcome"],
            registry=None,
        )
        self.load_seconds = Histogram(
            "neo_model_load_seconds",
            "From the start of an engine process until its model served.",
            ["model"],
            buckets=_LOAD_BUCKETS,
            registry=None,
        )
        self.switch_seconds = Histogram(
            "neo_model_switch_seconds",
            "From the first step of putting others out of memory until the model served.",
            ["model"],
            buckets=_LOAD_BUCKETS,
            registry=None,
        )
        self.evictions = Counter(
            "neo_model_evictions", "Models put out of memory.", ["model", "cause"], registry=None
        )
        self.rests = Counter(
            "neo_model_rests", "Caches that idle models gave back.", ["model"], registry=None
        )
        self.wait_seconds = Histogram(
            "neo_model_wait_seconds",
            "What requests waited for a place in memory for their model.",
            ["model"],
            buckets=_WAIT_BUCKETS,
            registry=None,
        )

    def families(self) -> Iterator[Metric]:
        """All of them, as Prometheus reads them."""
        for family in (
            self.loads,
            self.load_seconds,
            self.switch_seconds,
            self.evictions,
            self.rests,
            self.wait_seconds,
        ):
            yield from family.collect()


class FleetCollector(Collector):
    """The fleet as it is when Prometheus asks."""

    def __init__(self, metrics: FleetMetrics, budget: int, standings: Callable[[], list[Standing]]) -> None:
        self._metrics = metrics
        self._budget = budget
        self._standings = standings

    def collect(self) -> Iterator[Metric]:
        """All families."""
        budget = GaugeMetricFamily(
            "neo_model_memory_budget_bytes", "What all models may hold together; 0: there is no bound."
        )
        budget.add_metric([], self._budget)
        yield budget
        held = GaugeMetricFamily(
            "neo_model_memory_bytes",
            "What a model counts for: measured, or estimated until it was.",
            labels=["model"],
        )
        users = GaugeMetricFamily("neo_model_users", "Requests that use a model.", labels=["model"])
        for standing in self._standings():
            held.add_metric([standing.name], standing.held)
            users.add_metric([standing.name], standing.users)
        yield held
        yield users
        yield from self._metrics.families()
