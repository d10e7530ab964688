"""A database is copied into another one, of whichever kind: from the embedded SQLite file to PostgreSQL, or
back. All tables in one transaction on each side: what is copied is one moment of the source, and the target
has all of it or nothing, so a copy that was broken off is simply made again.

Sealed values are copied as they are: SECRET_KEY stays the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Column,
    Table,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.storage.database import Database
from servicekit.storage.failures import OURS
from servicekit.storage.migrating import Schema, configuration, upgrade
from servicekit.storage.paging import Key, between, bytes_of_row, fitting
from servicekit.storage.types import NUMBER_OF

PAGE_ROWS = 500
PAGE_BYTES = 8_388_608
"""Rows are read and written so many at a time, or so many bytes: a mail may be large."""


class CopyRefused(Exception):
    """Nothing was copied; the text says why, and holds nothing of what is in the databases."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How many rows of a table are in the target now: as many as in the source."""

    table: str
    rows: int


async def copy(source: Database, target: Database, schema: Schema) -> list[Copied]:
    """Copy all that a service keeps. The service must not run meanwhile: it could not write.

    Args:
        source: has the newest schema; it is only read.
        target: is brought to the newest schema; its tables must be empty.

    Returns:
        The tables in the order in which they were copied: who is referred to comes first.

    Raises:
        CopyRefused: the source has another schema, the target holds something, or a row does not fit.
        StorageUnavailable: one of them is away; the target holds nothing new.
    """
    async with source.writing() as reading:
        # A transaction that writes: on SQLite nobody else can write meanwhile.
        if source.dialect == "postgresql":
            await reading.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await _check_revision(reading, schema)
        await upgrade(target, schema)
        async with target.writing() as writing:
            await _reserve(writing, schema)
            copied = [await _copy_table(reading, writing, table) for table in schema.metadata.sorted_tables]
            if target.dialect == "postgresql":
                for table in schema.metadata.sorted_tables:
                    await _go_on_numbering(writing, table, schema)
    return copied


async def _check_revision(connection: AsyncConnection, schema: Schema) -> None:
    there = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    newest = ScriptDirectory.from_config(configuration(schema)).get_current_head()
    if there is None:
        raise CopyRefused("The source holds no tables of this service: is it the right address?")
    if there != newest:
        raise CopyRefused(
            f"The source has the schema {there}, this version needs {newest}: start the service of this "
            "version with it once, and stop it again."
        )


async def _reserve(connection: AsyncConnection, schema: Schema) -> None:
    """Nobody else writes into the target from here on, and nobody has before. Raises CopyRefused."""
    tables = schema.metadata.sorted_tables
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in tables)
        await connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
    for table in tables:
        if count := await _count(connection, table):
            raise CopyRefused(
                f"The target is not empty: its table {table.name} has {count} rows. Nothing was changed. "
                "Copy into a new database, before any service starts with it."
            )


async def _copy_table(reading: AsyncConnection, writing: AsyncConnection, table: Table) -> Copied:
    try:
        async for first, last in _pages(reading, table):
            page = select(table).where(*between(table, first, last))
            rows = (await reading.execute(page)).mappings().all()
            await writing.execute(insert(table), [dict(row) for row in rows])
    except DBAPIError as error:
        cause = getattr(error.orig, "__cause__", None) or error.orig
        # SQLite takes texts of any length, PostgreSQL says so as an error of the data.
        if not isinstance(error, OURS) and not isinstance(cause, asyncpg.DataError):
            raise
        raise CopyRefused(
            f"A row of {table.name} does not fit into the target ({type(cause).__name__}). Nothing is copied."
        ) from None
    there, here = await _count(reading, table), await _count(writing, table)
    if there != here:
        raise CopyRefused(f"{table.name} has {there} rows in the source and {here} in the copy.")
    return Copied(table.name, here)


async def _pages(connection: AsyncConnection, table: Table) -> AsyncIterator[tuple[Key | None, Key]]:
    """The keys after which a page begins (None: at the beginning) and with which it ends."""
    keys = list(table.primary_key.columns)
    size = bytes_of_row(table).label("bytes_of_row")
    before: Key | None = None
    while True:
        # The keys first: then it is known how many rows fit into the memory.
        following = select(*keys, size).where(*between(table, before, None)).order_by(*keys).limit(PAGE_ROWS)
        rows = (await connection.execute(following)).all()
        if not rows:
            return
        count = fitting([row[-1] for row in rows], PAGE_BYTES)
        last = tuple(rows[count - 1][:-1])
        yield before, last
        before = last


async def _count(connection: AsyncConnection, table: Table) -> int:
    count: int = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
    return count


async def _go_on_numbering(connection: AsyncConnection, table: Table, schema: Schema) -> None:
    """PostgreSQL counts in a sequence of its own, which does not know of rows that brought their numbers. It
    goes on above all that are kept anywhere: a row may be gone of which others still have the number."""
    column = table.autoincrement_column
    if column is None:
        return
    numbers = [column, *_kept_numbers(column, schema)]
    # Of what was imported, they are negative.
    highest = func.greatest(*(select(func.max(one)).scalar_subquery() for one in numbers))
    sequence = func.pg_get_serial_sequence(table.name, column.name)
    await connection.execute(select(func.setval(sequence, highest)).where(highest > 0))


def _kept_numbers(column: Column[Any], schema: Schema) -> list[Column[Any]]:
    """The columns in which the numbers of another one are kept: for longer than its rows, or as long."""
    name = f"{column.table.name}.{column.name}"
    everywhere = [one for table in schema.metadata.sorted_tables for one in table.columns]
    return [one for one in everywhere if one.info.get(NUMBER_OF) == name or one.references(column)]
