"""A journal over both databases, and a clock that tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from servicekit.journal.journal import Journal
from servicekit.journal.lane import HeldLane
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import Entry
from servicekit.journal.tables import JournalTables, journal_tables
from servicekit.storage.database import Database, database_url

LEASE = 30.0


@dataclass
class Clock:
    """Stands still until it is turned."""

    now: datetime = field(default=datetime(2026, 3, 1, 12, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Office:
    """One journal that several processes keep."""

    database: Database
    tables: JournalTables
    clock: Clock

    def journal(self, owner: str = "one") -> Journal:
        return Journal(self.database, self.tables, owner=owner, lease_seconds=LEASE, clock=self.clock)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.database, self.tables, self.clock)

    async def claimed(self, key: str = "m1", lane: str = "chat") -> tuple[HeldLane, Entry]:
        """A new message, and its lane in hand."""
        await self.journal().receive(key, lane, b"question")
        held = await self.journal().claim()
        assert held is not None
        entry = await held.due()
        assert entry is not None
        return held, entry


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@asynccontextmanager
async def open_office(address: str) -> AsyncIterator[Office]:
    metadata = MetaData()
    tables = journal_tables(metadata)
    database = Database(database_url(address))
    async with database.writing() as connection:
        await connection.run_sync(metadata.create_all)
    yield Office(database, tables, Clock())
    await database.close()


@pytest.fixture
async def office(address: str) -> AsyncIterator[Office]:
    async with open_office(address) as office:
        yield office
