"""The metrics of batches."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

Outcome = Literal["done", "failed", "postponed"]


class BatchMetrics:
    """Registered once per process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lines = Counter(
            "neo_batch_lines",
            "Lines of batches by what became of them; postponed ones are asked again.",
            ["outcome"],
            registry=registry,
        )
        self.running = Gauge(
            "neo_batch_lines_running", "Lines of batches that are being answered.", registry=registry
        )

    def line(self, outcome: Outcome) -> None:
        """A line was answered."""
        self._lines.labels(outcome).inc()
