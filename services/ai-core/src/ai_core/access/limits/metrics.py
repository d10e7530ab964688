"""What dashboards learn of limits."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from ai_core.access.limits.ledger import Kind


class LimitMetrics:
    """The series, registered once where the application is put together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        family = Counter("neo_limits_hit", "Requests refused by a key's limit.", ["kind"], registry=registry)
        self._hit = {kind: family.labels(kind.value) for kind in Kind}
        self._unavailable = Counter(
            "neo_limiter_unavailable",
            "Requests that passed without their minute limits, because Redis was away.",
            registry=registry,
        )

    def hit(self, kind: Kind) -> None:
        """A request was refused."""
        self._hit[kind].inc()

    def unavailable(self) -> None:
        """A request was let through without being counted."""
        self._unavailable.inc()
