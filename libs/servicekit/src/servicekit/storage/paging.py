"""Tables read whole, a page at a time, in the order of their primary keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, bindparam, select, tuple_

from servicekit.storage.database import Database

PAGE_ROWS = 200

Key = tuple[Any, ...]
"""The values of a primary key, column by column."""


def between(table: Table, after: Key | None, up_to: Key | None) -> list[ColumnElement[bool]]:
    """The conditions for rows behind one key and up to another; None: there is no such bound."""
    columns = list(table.primary_key.columns)

    def values(key: Key) -> Any:
        pairs = zip(columns, key, strict=True)
        return tuple_(*(bindparam(None, value, type_=column.type) for column, value in pairs))

    conditions: list[ColumnElement[bool]] = []
    if after is not None:
        conditions.append(tuple_(*columns) > values(after))
    if up_to is not None:
        conditions.append(tuple_(*columns) <= values(up_to))
    return conditions


async def rows_of(database: Database, table: Table) -> AsyncIterator[RowMapping]:
    """All rows of a table of small rows. Raises StorageUnavailable."""
    columns, last = list(table.primary_key.columns), None
    while True:
        page = select(table).where(*between(table, last, None)).order_by(*columns).limit(PAGE_ROWS)
        async with database.reading() as connection:
            rows = (await connection.execute(page)).mappings().all()
        for row in rows:
            yield row
        if len(rows) < PAGE_ROWS:
            return
        last = tuple(rows[-1][column.name] for column in columns)
