"""Rows of the tables as records."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping

from servicekit.journal.records import Entry, EntryState, Part, PartState


def entry_of(row: RowMapping) -> Entry:
    """A row of ``entries``."""
    values: dict[str, Any] = {name: row[name] for name in Entry.__slots__}
    return Entry(**values | {"state": EntryState(row["state"])})


def part_of(row: RowMapping) -> Part:
    """A row of ``parts``."""
    values: dict[str, Any] = {name: row[name] for name in Part.__slots__}
    return Part(**values | {"state": PartState(row["state"])})
