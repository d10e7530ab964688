"""How often nothing had to be computed."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter

from ai_core.inference.requests import Origin

_OUTCOMES = {Origin.CACHED: "hit", Origin.JOINED: "joined", Origin.COMPUTED: "miss"}


class RepetitionMetrics:
    """The families, registered once where the application is put together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "neo_response_cache_requests",
            "Answers asked for: found (hit), shared with one under way (joined), computed (miss), or not for "
            "the cache (bypass).",
            ["model", "outcome"],
            registry=registry,
        )
        self._failures = Counter(
            "neo_response_cache_store_failures",
            "Times that the cache was passed by because its store could not be used.",
            ["operation"],
            registry=registry,
        )

    def bypassed(self, model: str) -> None:
        """An answer that is not for the cache."""
        self._requests.labels(model, "bypass").inc()

    def answered(self, model: str, origin: Origin) -> None:
        """An answer that is."""
        self._requests.labels(model, _OUTCOMES[origin]).inc()

    def store_failed(self, operation: Literal["read", "write"]) -> None:
        """The store could not be used."""
        self._failures.labels(operation).inc()
