"""The mail service's tables in both databases, and a clock that tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mail_service.answering.envelopes import Envelopes
from mail_service.answering.exporting import SealedPayloads
from mail_service.keeping import Keeper
from mail_service.storage.allowances import Allowances, HourlyLimits
from mail_service.storage.correspondence import Correspondence, Written
from mail_service.storage.migrations import SCHEMA
from mail_service.storage.names import Names, load_names
from mail_service.storage.tables import journal as journal_tables
from mail_service.storage.ways import Ways
from servicekit.journal.journal import Journal
from servicekit.journal.ledger import Ledger
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import SecretSeal

SEAL = SecretSeal(b"a secret of the tests", "mail")
ANNE, BOB = "anne@example.org", "bob@example.org"


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Store:
    database: Database
    clock: Clock
    names: Names
    journal: Journal
    letters: Correspondence
    ways: Ways

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.database, journal_tables, self.clock)

    @property
    def allowances(self) -> Allowances:
        limits = HourlyLimits(of_all=100, of_person=100, of_shared=100)
        return Allowances(self.database, limits, self.clock)

    @property
    def envelopes(self) -> Envelopes:
        return Envelopes(SEAL)

    @property
    def keeper(self) -> Keeper:
        return Keeper(
            self.database,
            self.letters,
            self.allowances,
            self.ways,
            self.ledger,
            self.names,
            SealedPayloads(self.envelopes),
        )

    async def letter(
        self, message_id: str, address: str = ANNE, text: str = "?", thread: str = "t", payload: bytes = b""
    ) -> int:
        async with self.database.writing() as connection:
            number = await self.journal.store(connection, message_id, thread, payload)
            assert number is not None
            await self.letters.came_in(connection, number, thread, written(message_id, address, text))
        return number

    async def answered(self, entry_id: int, answer: Written) -> None:
        async with self.database.writing() as connection:
            await self.letters.answered(connection, entry_id, answer)

    async def shown(self, before: int, address: str = ANNE, thread: str = "t") -> list[str]:
        found = await self.letters.before(before, thread, self.names.person(address), 50)
        return [one.written.text for one in found]


def written(message_id: str, address: str, text: str) -> Written:
    return Written(message_id, address, "Somebody", "A subject", text, ("<root@x>",))


@pytest.fixture
async def store(_store_address: str) -> AsyncIterator[Store]:
    database = Database(database_url(_store_address))
    await upgrade(database, SCHEMA)
    clock, seal = Clock(), SEAL
    names = await load_names(database, seal)
    yield Store(
        database,
        clock,
        names,
        Journal(database, journal_tables, clock=clock),
        Correspondence(database, seal, names, clock),
        Ways(database, clock),
    )
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def _store_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/mail.db"
    url: str = request.getfixturevalue("postgres_url")
    return url
