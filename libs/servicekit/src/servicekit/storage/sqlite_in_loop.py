"""SQLite without a thread of its own: statements run where they are asked for, in the event loop's thread.

A statement on a few rows takes some 20 µs. Handing it to a thread and back costs ten times as much in
switches, and SQLAlchemy hands over some twelve times for one short transaction. In WAL mode without a sync at
each commit nothing here waits for the disk but a checkpoint now and then; what waits is another process that
writes, and that is waited for in turns with everything else.

For services whose every statement is short. The methods are those of ``aiosqlite.Connection`` that
SQLAlchemy's dialect of that name uses.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self, TypeVar

Result = TypeVar("Result")
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
LOOK_SECONDS = 0.005
"""So often it is tried again while somebody else writes."""


async def connect(database: str, patience: float) -> InLoopConnection:
    """A connection to a file. ``patience``: seconds that a statement waits for other writers."""
    # Python's own waiting would stop everything else. Connections may be closed by the pool's finalizer.
    connection = sqlite3.connect(database, timeout=0, check_same_thread=False)
    return InLoopConnection(connection, patience)


class InLoopConnection:
    """A connection of which every method is over at once, or waits for other writers."""

    def __init__(self, connection: sqlite3.Connection, patience: float) -> None:
        self._conn = connection
        self._connection: sqlite3.Connection | None = connection
        """None: it is closed."""
        self._patience = patience
        # Where the dialect puts what aiosqlite's thread shall do.
        self._tx = _AtOnce()

    @property
    def isolation_level(self) -> str | None:
        """As of ``sqlite3``."""
        return self._conn.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: Any) -> None:
        self._conn.isolation_level = value

    def cursor(self) -> InLoopCursor:
        """A new one."""
        return InLoopCursor(self._conn.cursor(), self.patiently)

    async def commit(self) -> None:
        """End the transaction."""
        await self.patiently(self._conn.commit)

    async def rollback(self) -> None:
        """Undo the transaction."""
        self._conn.rollback()

    async def close(self) -> None:
        """Give the file back."""
        self.stop()

    def stop(self) -> None:
        """The same at once."""
        self._connection = None
        self._conn.close()

    async def create_function(self, *args: Any, **options: Any) -> None:
        """As of ``sqlite3``."""
        self._conn.create_function(*args, **options)

    async def patiently(self, call: Callable[[], Result]) -> Result:
        """The result of a call, which waits for other writers as long as they are waited for."""
        deadline: float | None = None
        while True:
            try:
                return call()
            except sqlite3.OperationalError as error:
                deadline = deadline or time.monotonic() + self._patience
                if error.sqlite_errorcode & 0xFF not in BUSY or time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(LOOK_SECONDS)


class InLoopCursor:
    """A cursor of such a connection."""

    arraysize = 1

    def __init__(self, cursor: sqlite3.Cursor, patiently: Callable[..., Any]) -> None:
        self._cursor = cursor
        self._patiently = patiently

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        """As of the DB-API."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """As of the DB-API."""
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """As of the DB-API."""
        return self._cursor.lastrowid

    async def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> Self:
        """As of the DB-API."""
        await self._patiently(partial(self._cursor.execute, statement, parameters or ()))
        return self

    async def executemany(self, statement: str, parameters: Sequence[Any]) -> Self:
        """As of the DB-API."""
        await self._patiently(partial(self._cursor.executemany, statement, parameters))
        return self

    async def fetchone(self) -> Any:
        """As of the DB-API."""
        return self._cursor.fetchone()

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """As of the DB-API."""
        return self._cursor.fetchmany(self.arraysize if size is None else size)

    async def fetchall(self) -> list[Any]:
        """As of the DB-API."""
        return self._cursor.fetchall()

    async def close(self) -> None:
        """As of the DB-API."""
        self._cursor.close()


class _AtOnce:
    def put_nowait(self, order: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        future, call = order
        future.set_result(call())
