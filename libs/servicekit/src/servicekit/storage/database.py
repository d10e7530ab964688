"""A service's database: an SQLite file by default, PostgreSQL when DATABASE_URL says so.

Everything that a database which is down, overloaded or out of reach raises becomes one error, here and
nowhere else: ``StorageUnavailable``, or what the service says instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, RowMapping, Select, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from servicekit.storage.failures import (
    OURS,
    UNAVAILABLE,
    is_lost_connection,
    means_unavailable,
    without_values,
)
from servicekit.storage.sqlite_in_loop import connect

CONNECT_SECONDS = 2.0
COMMAND_SECONDS = 3.0
POOL_SECONDS = 2.0
PAUSE_SECONDS = 1.0
"""How long nobody tries after a connection was lost: callers learn at once instead of waiting in turn."""
SCRUB_AGAIN_SECONDS = 0.02
RETRY_AFTER_SECONDS = 2.0
POOL_SIZE = 10
Writing = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Gives transactions, as :meth:`Database.writing`."""

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
}


class StorageUnavailable(Exception):
    """The database cannot be used just now.

    Attributes:
        retry_after: seconds after which trying again makes sense.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(Protocol):
    """Makes the error that callers see while the database is away."""

    def __call__(self, message: str, *, retry_after: float) -> Exception:
        """``retry_after`` is in seconds."""


class DatabaseAddressError(Exception):
    """DATABASE_URL cannot be used; the text says why and holds no secret."""


def database_url(address: str, user: str | None = None, password: str | None = None) -> URL:
    """SQLAlchemy's form of DATABASE_URL; ``user`` and ``password`` go before those in it.

    Raises:
        DatabaseAddressError: no address, no known database, or an SQLite database without a file.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise DatabaseAddressError(
            "DATABASE_URL is no address of a database. Examples: sqlite:///var/ai-core.db, "
            "postgresql://user@host:5432/neo."
        ) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise DatabaseAddressError(
            f"DATABASE_URL begins with '{url.drivername}': use sqlite:///path or postgresql://host/name."
        )
    if driver.startswith("sqlite"):
        if url.database in {None, "", ":memory:"}:
            # Each connection would have a memory of its own, and rows would be lost in silence.
            raise DatabaseAddressError("DATABASE_URL: SQLite needs a file, as in sqlite:///var/ai-core.db.")
        return url.set(drivername=driver)
    query = dict(url.query)
    if "sslmode" in query:
        # libpq's name for what asyncpg calls ssl.
        query["ssl"] = query.pop("sslmode")
    return url.set(
        drivername=driver, query=query, username=user or url.username, password=password or url.password
    )


class Database:
    """Connections, and nothing about what is in the tables."""

    def __init__(
        self,
        url: URL,
        *,
        command_seconds: float = COMMAND_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        unavailable: Unavailable = StorageUnavailable,
        in_loop: bool = False,
        at_once: bool = True,
    ) -> None:
        """``command_seconds`` bounds each statement, waiting for other writers included. Where this class
        says StorageUnavailable, it raises what ``unavailable`` makes.

        Args:
            in_loop: let SQLite work in the event loop's own thread, as :mod:`.sqlite_in_loop` says.
            at_once: let :meth:`first` and :meth:`rows` look into SQLite there in any case. Not where a row
                may be so large that reading it would hold up everything else.

        Raises:
            DatabaseAddressError: an SQLite file cannot be made or written.
        """
        self._engine = _create_engine(url, command_seconds, in_loop=in_loop)
        self._in_loop = in_loop and url.drivername.startswith("sqlite")
        self._at_once = AtOnce(url) if url.drivername.startswith("sqlite") and at_once else None
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        # What takes long has a thread of its own also where the rest works in the loop.
        aside = _create_engine(url, command_seconds, in_loop=False) if self._in_loop else self._engine
        self._aside = aside.execution_options(isolation_level="AUTOCOMMIT")
        self._clock = clock
        self._command_seconds = command_seconds
        self._make_unavailable = unavailable
        self._pause_until = 0.0
        self._closing: set[asyncio.Future[None]] = set()
        self.dialect = self._engine.dialect.name
        """``sqlite`` or ``postgresql``."""

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection without a transaction: each statement sees what is committed by then.

        Raises:
            StorageUnavailable: the database is down or does not answer in time.
        """
        with self._watch():
            async with self._connected(self._reading) as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, committed when the block ends and undone when it raises.

        Raises:
            StorageUnavailable: the database is down or does not answer in time.
        """
        with self._watch():
            async with self._connected(self._engine) as connection, connection.begin():
                yield connection

    async def first(self, statement: Select[Any], parameters: Mapping[str, Any]) -> RowMapping | None:
        """The first row of a short query, as quickly as it can be had: for what every request asks.

        Raises:
            StorageUnavailable: the database is down or does not answer in time.
        """
        if self._at_once is not None:
            with contextlib.suppress(SQLAlchemyError):
                return self._at_once.first(statement, parameters)
            # Somebody cleans up the file just now: wait for them elsewhere than in the event loop.
        async with self.reading() as connection:
            row: RowMapping | None = (await connection.execute(statement, parameters)).mappings().first()
            return row

    async def rows(self, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[RowMapping]:
        """The same for all rows of a query that has few."""
        if self._at_once is not None:
            with contextlib.suppress(SQLAlchemyError):
                return self._at_once.rows(statement, parameters)
        async with self.reading() as connection:
            rows: Sequence[RowMapping] = (await connection.execute(statement, parameters)).mappings().all()
            return rows

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection that is given back whenever its user is cancelled, also while it is being made:
        there, SQLAlchemy would lose it."""
        if self._in_loop and engine is not self._aside and self._engine.pool.checkedin():  # type: ignore[attr-defined]
            # One that is at hand is taken and given back at once: nobody can be cancelled meanwhile.
            connection = await engine.connect().start()
            try:
                yield connection
            finally:
                await connection.close()
            return
        opening = asyncio.ensure_future(engine.connect().start())
        try:
            connection = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._give_back)
            raise
        try:
            yield connection
        finally:
            await asyncio.shield(connection.close())

    def _give_back(self, opened: asyncio.Future[AsyncConnection]) -> None:
        if not opened.cancelled() and opened.exception() is None:
            closing = asyncio.ensure_future(opened.result().close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _watch(self) -> _Watch:
        return _Watch(self)

    async def ping(self) -> float:
        """Seconds that a question to the database takes. Raises StorageUnavailable."""
        began = self._clock()
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))
        return self._clock() - began

    async def scrub(self) -> None:
        """Let no copy of what was deleted remain in files of SQLite: what it deletes, it overwrites, but its
        log of changes holds pages of before. Nothing happens with PostgreSQL, whose server does that itself.

        Raises:
            StorageUnavailable: the database does not answer in time.
        """
        until = self._clock() + self._command_seconds
        while self.dialect == "sqlite":
            # It waits for the disk, as long as there is much to bring there.
            with self._watch():
                async with self._connected(self._aside) as connection:
                    done = await connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
                    # Somebody who reads or writes just now is no error, but a number.
                    if not done.one()[0]:
                        return
            if self._clock() > until:
                raise self._unavailable()
            await asyncio.sleep(SCRUB_AGAIN_SECONDS)

    async def close(self) -> None:
        """Close all connections."""
        if self._at_once is not None:
            self._at_once.close()
        if self._closing:
            await asyncio.wait(self._closing)
        await self._aside.dispose()
        await self._engine.dispose()

    def _unavailable(self) -> Exception:
        return self._make_unavailable(
            "The database cannot be reached at present. Try again in a moment.",
            retry_after=RETRY_AFTER_SECONDS,
        )

    def _enter(self) -> None:
        now = self._clock()
        if now < self._pause_until:
            raise self._unavailable()
        if self._pause_until:
            # One caller tries for all; the others go on learning at once.
            self._pause_until = now + PAUSE_SECONDS

    def _leave(self, error: BaseException | None) -> None:
        if error is None:
            self._pause_until = 0.0
        elif means_unavailable(error) and is_lost_connection(error):
            self._pause_until = self._clock() + PAUSE_SECONDS


class AtOnce:
    """SQLite in the event loop's own thread.

    Looking up one row takes some 50 µs, less than each of the seven times that asking a thread of its
    own would hand over the interpreter. In WAL mode, a reader does not wait for writers.
    """

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(
            url.set(drivername="sqlite+pysqlite"),
            poolclass=StaticPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            # No waiting, whatever it would be for.
            connect_args={"timeout": 0, "check_same_thread": False},
        )
        self._connection: Connection | None = None

    def first(self, statement: Select[Any], parameters: Mapping[str, Any]) -> RowMapping | None:
        """The first row. Raises SQLAlchemyError; the next call begins anew then."""
        return next(iter(self.rows(statement, parameters)), None)

    def rows(self, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[RowMapping]:
        """All rows. Raises SQLAlchemyError; the next call begins anew then."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            return self._connection.execute(statement, parameters).mappings().all()
        except SQLAlchemyError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()


class _Watch:
    """Around the use of a connection: turns what a dead database raises into StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database._enter()

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._database._leave(error)
        if isinstance(error, UNAVAILABLE) and means_unavailable(error):
            raise self._database._unavailable() from error
        if isinstance(error, OURS):
            raise without_values(error) from None


def _create_engine(url: URL, command_seconds: float, *, in_loop: bool) -> AsyncEngine:
    if url.drivername.startswith("sqlite"):
        return _create_sqlite_engine(url, command_seconds, in_loop=in_loop)
    engine = create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": command_seconds},
    )
    event.listen(engine.sync_engine, "checkout", _see_that_it_is_open)
    return engine


def _see_that_it_is_open(connection: Any, _record: object, _proxy: object) -> None:
    # SQLAlchemy's own ping would ask the server, in a transaction of its own: three exchanges before every
    # use. A server that ended has closed its connections; of one that hangs, the first statement tells.
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _create_sqlite_engine(url: URL, command_seconds: float, *, in_loop: bool) -> AsyncEngine:
    assert url.database is not None
    _make_file(Path(url.database))
    creator = {"async_creator": partial(connect, url.database, command_seconds)} if in_loop else {}
    engine = create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        hide_parameters=True,
        # SQLite's busy_timeout: how long it waits for another writer.
        connect_args={"timeout": command_seconds},
        **creator,
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _make_file(path: Path) -> None:
    """A file in WAL mode that only its owner may read: it will hold what people wrote.

    The change to WAL is the one statement of SQLite that does not wait for others that use the file, so
    who comes first makes it, and the rest wait for the folder's lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            if not path.exists():
                # Never opened but by SQLite once it is there: closing it here would give up the locks
                # that other connections of this process hold (sqlite.org, "How To Corrupt", 2.2).
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            elif not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            _use_wal(path)
    except OSError as error:
        raise DatabaseAddressError(
            f"DATABASE_URL: {path} cannot be opened for writing ({error.strerror})."
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _use_wal(path: Path) -> None:
    # What is wrong with a file that cannot be used is told by whoever asks it something.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Transactions begin where we say so: the driver's own would begin too late, at the first write.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        # One that reads first and writes then could not wait for another writer: it would fail.
        # Past SQLAlchemy's bookkeeping of results: there are none.
        cursor = connection.connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        cursor.close()
