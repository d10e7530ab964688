"""Rows that several processes may want to insert at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_once(dialect: str, table: Table, values: Mapping[str, Any]) -> Any:
    """A statement that inserts a row unless there is one with its primary key.

    On PostgreSQL it waits for whoever inserts the same row just now, so what comes next in the transaction
    sees the row, whoever made it.

    Args:
        dialect: ``sqlite`` or ``postgresql``, as of ``Database.dialect``.
    """
    insert = (postgresql if dialect == "postgresql" else sqlite).insert
    return (
        insert(table)
        .values(values)
        .on_conflict_do_nothing(index_elements=[column.name for column in table.primary_key])
    )
