"""Who a request comes from and what they may do, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Scope(StrEnum):
    """What a key opens."""

    GENERATE = "generate"
    EMBEDDINGS = "embeddings"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    ADMIN = "admin"
    METRICS = "metrics"


def known_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """Those that this version has; one that a later version granted opens nothing."""
    granted = set(names)
    return tuple(scope for scope in Scope if scope in granted)


class PriorityClass(IntEnum):
    """The engine serves higher classes first; within one, keys take turns."""

    BATCH = -1
    NORMAL = 0
    HIGH = 1


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """How much a key may use; None: as much as there is."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrent_requests: int | None = None


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. ``key_id`` is public: it stands in logs and metrics.

    ``allowed_models`` empty: all of them. ``default_model`` None: the server's.
    """

    key_id: str
    name: str
    scopes: AbstractSet[Scope]
    limits: KeyLimits = field(default_factory=KeyLimits)
    allowed_models: AbstractSet[str] = frozenset()
    default_model: str | None = None
    priority: PriorityClass = PriorityClass.NORMAL
    fair_by_user: bool = False
    """The caller speaks for many people and is trusted to say for whom: waiting requests take turns
    by the ``user`` it sends. Otherwise by key, or each made-up user would get a share of its own."""

    def may(self, scope: Scope) -> bool:
        """Whether the key has this scope."""
        return scope in self.scopes

    def may_use(self, model: str) -> bool:
        """Whether the key may use this model, by its canonical name."""
        return not self.allowed_models or model in self.allowed_models
