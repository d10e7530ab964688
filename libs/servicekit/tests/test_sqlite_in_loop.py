"""SQLite in the event loop's thread: others that write are waited for, and nothing stands still meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from servicekit.storage.database import Database, StorageUnavailable, database_url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    made = Database(database_url(f"sqlite:///{path}"), command_seconds=0.3, in_loop=True)
    async with made.writing() as connection:
        await connection.execute(text("CREATE TABLE kept (name TEXT PRIMARY KEY, count INTEGER)"))
        await connection.execute(text("INSERT INTO kept VALUES ('a', 0)"))
    yield made
    await made.close()


async def count(database: Database) -> int:
    async with database.reading() as connection:
        found: int = (await connection.execute(text("SELECT count FROM kept"))).scalar_one()
        return found


async def add(database: Database) -> None:
    async with database.writing() as connection:
        before = (await connection.execute(text("SELECT count FROM kept"))).scalar_one()
        await asyncio.sleep(0)
        await connection.execute(text("UPDATE kept SET count = :count"), {"count": before + 1})


async def test_nothing_is_lost_where_many_write_at_once(database: Database) -> None:
    await asyncio.gather(*(add(database) for _ in range(30)))
    assert await count(database) == 30


async def test_what_fails_is_undone(database: Database) -> None:
    async def fail() -> None:
        async with database.writing() as connection:
            await connection.execute(text("UPDATE kept SET count = 7"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await count(database) == 0


async def test_another_process_that_writes_is_waited_for_while_everything_else_goes_on(
    database: Database, path: Path
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(add(database))
    # Reading does not wait for writers, nor does anything else.
    assert await count(database) == 0
    assert not writing.done()
    other.execute("ROLLBACK")
    await writing
    assert await count(database) == 1
    other.close()


async def test_one_that_writes_for_too_long_is_told(database: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        await add(database)
    other.close()
    await add(database)


async def test_who_is_cancelled_leaves_no_transaction_behind(database: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(add(database))
    await count(database)
    writing.cancel()
    await asyncio.wait({writing})
    other.execute("ROLLBACK")
    other.close()
    await add(database)
    assert await count(database) == 1
