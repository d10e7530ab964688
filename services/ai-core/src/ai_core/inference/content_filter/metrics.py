"""How often the content filter spoke up."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter


class ContentFilterMetrics:
    """The family, registered once where the application is put together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._filtered = Counter(
            "neo_content_filtered",
            "Prompts refused and answers cut short by the content filter.",
            ["model", "direction"],
            registry=registry,
        )

    def filtered(self, model: str, direction: Literal["prompt", "answer"]) -> None:
        """A match was found."""
        self._filtered.labels(model, direction).inc()
