"""``ai-core models list``: what there is, what serves it and why, and what is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from ai_core.catalog.engine_choice import Machine, choose_engine
from ai_core.catalog.facts import FileFacts, facts_of
from ai_core.catalog.hub.sizes import in_words
from ai_core.catalog.machine import this_machine
from ai_core.catalog.models import ModelEntry
from ai_core.catalog.places import opened_path
from ai_core.cli.models.workplace import Workplace

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
    machine = this_machine(kernels=place.settings.engine_kernels)
    sequences = place.settings.max_sequences
    show([row_of(entry, machine, sequences, running.get(entry.name, {})) for entry in place.catalog.entries])
    return 0


def row_of(entry: ModelEntry, machine: Machine, max_sequences: int, told: Mapping[str, Any]) -> Row:
    """What the disk tells of one model, and what the running server told, if it knows it."""
    path = None if entry.type == "remote" else opened_path(entry)
    facts = FileFacts() if path is None else facts_of(entry.type, path)
    decision = choose_engine(entry, facts, machine, entry.max_sequences or max_sequences)
    engine = told.get("engine") or decision.engine
    reason = told.get("engine_reason") or decision.reason
    if entry.type != "remote" and path is None:
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
        reason=facts.problem or reason,
    )


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
