"""Deleting much: each statement has to end within the time that the database gives it, and nobody else who
writes is to wait for long."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import Column, ColumnElement, delete, select

from servicekit.storage.database import Database
from servicekit.storage.paging import bytes_of_row, fitting

PAGE = 500
PAGE_BYTES = 1_048_576
"""So many rows are deleted at once, or so many bytes in their large columns, which SQLite overwrites."""


async def delete_by_pages(database: Database, key: Column[Any], which: ColumnElement[bool]) -> int:
    """Delete rows of one table, each page in a transaction of its own, after which everybody else gets a
    turn; returns how many.

    Args:
        key: the table's primary key.
        which: those rows. What is no longer so when its page is deleted, stays.

    Raises:
        StorageUnavailable: the database is away; what was deleted by then is deleted.
    """
    count, last = 0, None
    size = bytes_of_row(key.table)
    while True:
        following = which if last is None else which & (key > last)
        async with database.reading() as connection:
            page = await connection.execute(select(key, size).where(following).order_by(key).limit(PAGE))
            rows = page.all()
        if not rows:
            return count
        keys = [row[0] for row in rows[: fitting([row[1] for row in rows], PAGE_BYTES)]]
        last = keys[-1]
        async with database.writing() as connection:
            count += (await connection.execute(delete(key.table).where(key.in_(keys), which))).rowcount
        await asyncio.sleep(0)
