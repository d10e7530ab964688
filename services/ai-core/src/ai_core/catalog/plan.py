"""How one model is to be served: what is on the disk, and which engine computes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ai_core.catalog.engine_choice import EngineDecision, Machine, choose_engine
from ai_core.catalog.facts import FileFacts, facts_of
from ai_core.catalog.models import ModelEntry
from ai_core.catalog.places import opened_path


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model as it can be served at this moment."""

    entry: ModelEntry
    path: Path | None
    """What an engine opens; None: it is not here, or is on another server."""
    facts: FileFacts
    decision: EngineDecision

    @property
    def absent(self) -> bool:
        """Its files are not here."""
        return self.path is None and self.entry.type != "remote"


def plan_of(entry: ModelEntry, machine: Machine, max_sequences: int) -> ModelPlan:
    """How a model is served with what is on the disk now. Reads the beginning of its files.

    Args:
        max_sequences: answers computed side by side, where the entry does not say.
    """
    path = None if entry.type == "remote" else opened_path(entry)
    facts = FileFacts() if path is None else facts_of(entry.type, path)
    decision = choose_engine(entry, facts, machine, entry.max_sequences or max_sequences)
    return ModelPlan(entry, path, facts, decision)


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the models of before, by name, in the order of the models file."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


def changes_between(before: Mapping[str, ModelPlan], after: Iterable[ModelPlan]) -> Changes:
    """Compares two sets of models."""
    plans = list(after)
    names = {plan.entry.name for plan in plans}
    known = [plan for plan in plans if plan.entry.name in before]
    return Changes(
        added=tuple(plan.entry.name for plan in plans if plan.entry.name not in before),
        changed=tuple(plan.entry.name for plan in known if before[plan.entry.name] != plan),
        removed=tuple(name for name in before if name not in names),
        unchanged=tuple(plan.entry.name for plan in known if before[plan.entry.name] == plan),
    )
