"""Deleting much: each statement has to end within the time that the database gives it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, delete, select

from servicekit.storage.database import Database

PAGE = 1_000
"""So many rows are deleted at once."""


async def delete_by_pages(database: Database, key: Column[Any], which: ColumnElement[bool]) -> int:
    """Delete rows of one table, each page in a transaction of its own; returns how many.

    Args:
        key: the table's primary key.
        which: those rows. What is no longer so when its page is deleted, stays.

    Raises:
        StorageUnavailable: the database is away; what was deleted by then is deleted.
    """
    count, last = 0, None
    while True:
        following = which if last is None else which & (key > last)
        async with database.reading() as connection:
            page = (
                await connection.execute(select(key).where(following).order_by(key).limit(PAGE))
            ).scalars()
            keys = list(page)
        if not keys:
            return count
        last = keys[-1]
        async with database.writing() as connection:
            count += (await connection.execute(delete(key.table).where(key.in_(keys), which))).rowcount
