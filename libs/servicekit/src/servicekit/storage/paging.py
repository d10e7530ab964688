"""Tables read whole, a page at a time, in the order of their primary keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    RowMapping,
    Table,
    bindparam,
    func,
    literal,
    select,
    tuple_,
)

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


def bytes_of_row(table: Table) -> ColumnElement[int]:
    """The bytes in a row's large columns, which need not be read for that."""
    blobs = [func.coalesce(func.length(one), 0) for one in table.c if isinstance(one.type, LargeBinary)]
    return sum(blobs, start=literal(0))


def fitting(sizes: Sequence[int], most: int) -> int:
    """How many of the first rows come to a page of at most so many bytes: one at least."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > most and count:
            return count
    return len(sizes)


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
