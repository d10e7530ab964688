"""``ai-core models list``: what there is, what serves it and why, and what is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ai_core.catalog.conversion.manifest import FORMS, Converted, existing, read
from ai_core.catalog.hub.sizes import in_words
from ai_core.catalog.plan import ModelPlan
from ai_core.cli.models.workplace import Workplace
from ai_core.model_wiring import converted_models, planner

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """One model, in words."""

    name: str
    size: str
    format: str
    engine: str
    resident: str
    memory: str
    last_used: str
    reason: str
    """Why this engine, or what is wrong."""


async def run(place: Workplace) -> int:
    """Print the table."""
    running = await place.server.models() or {}
    plan = planner(place.settings)
    plans = [plan(entry) for entry in place.catalog.entries]
    kept = converted_models(place.settings)
    show([row_of(each, running.get(each.entry.name, {}), converted_forms(each, kept)) for each in plans])
    return 0


def converted_forms(plan: ModelPlan, kept: Path) -> list[Converted]:
    """What was made of a folder of safetensors, as its files are now."""
    if plan.entry.type != "transformers" or plan.path is None:
        return []
    places = [existing(plan.path, kept, quantization) for quantization in FORMS]
    return [found for place in places if place is not None and (found := read(place)) is not None]


def row_of(plan: ModelPlan, told: Mapping[str, Any], made: Iterable[Converted] = ()) -> Row:
    """What the disk tells of one model, and what the running server told, if it knows it.

    Args:
        plan: the model and its files.
        told: of it, by the server.
        made: what it was converted to.
    """
    entry, facts = plan.entry, plan.facts
    engine, reason = told.get("engine") or plan.decision.engine, told.get("engine_reason")
    reason = reason or plan.decision.reason
    if plan.absent:
        fetch = f"ai-core models pull {entry.name}" if entry.hub else str(entry.path)
        engine, reason = NOTHING, f"not here: {fetch}"
    return Row(
        name=entry.name,
        size=in_words(facts.size) if facts.size else NOTHING,
        format=" ".join(filter(None, (entry.type, facts.quantization))),
        engine=engine,
        resident=str(told.get("state", NOTHING)),
        memory=in_words(told["memory_bytes"]) if told.get("memory_bytes") else NOTHING,
        last_used=_moment(told.get("last_used_at")),
        reason=" ".join((facts.problem or reason, *map(_conversion, made))),
    )


def _conversion(made: Converted) -> str:
    return f"Converted for it: {made.form}, {in_words(made.size)}."


def _moment(value: object) -> str:
    if not isinstance(value, str):
        return NOTHING
    return f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M}"


def show(rows: list[Row]) -> None:
    """For a person: the table, then why each engine was chosen."""
    # Names are text, whatever they look like.
    console = Console(markup=False, highlight=False, emoji=False)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("name", "size", "format", "engine", "resident", "memory", "last used"):
        table.add_column(column, overflow="fold", justify="right" if column in {"size", "memory"} else "left")
    for row in rows:
        table.add_row(row.name, row.size, row.format, row.engine, row.resident, row.memory, row.last_used)
    console.print(table)
    for row in rows:
        console.print(f"{row.name}: {row.reason}", soft_wrap=True)
