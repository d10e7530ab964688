"""How the fleet is run."""

from __future__ import annotations

from dataclasses import dataclass, field

from ai_core.residency.backoff import RestartPolicy
from ai_core.residency.life import Patience
from ai_core.residency.planning import Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How the fleet is run."""

    budget: int = 0
    """Bytes that all engines may hold together; 0: no bound."""
    keep_alive: float = -1.0
    """Seconds that a model stays unused; negative: for ever."""
    turns: Turns = field(default_factory=Turns)
    cores: int = 0
    """For all engines together; 0: those that this process may run on."""
    patience: Patience = field(default_factory=Patience)
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
