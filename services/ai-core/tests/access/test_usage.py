"""What is counted reaches the database, later and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from access_keys import open_access
from ai_core.access import usage as module
from ai_core.access.usage import UsageLedger
from ai_core.errors import StorageUnavailable
from ai_core.storage.database import Database
from ai_core.storage.usage import Amount, UsageKey, UsageRepository

NOW = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
TODAY = NOW.date()
ONE = Amount(1, 10, 5, 2, 0)


class Repository(UsageRepository):
    """The real one; it can be away, and it can be held up in the middle of a write."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.away = False
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.writing = asyncio.Event()

    async def add(self, amounts: Mapping[UsageKey, Amount]) -> None:
        self.writing.set()
        await self.go_on.wait()
        if self.away:
            raise StorageUnavailable("away")
        await super().add(amounts)


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[Repository]:
    access = await open_access(tmp_path)
    yield Repository(access.database)
    await access.database.close()


@pytest.fixture
def ledger(repository: Repository) -> UsageLedger:
    return UsageLedger(repository, lambda: NOW)


async def test_what_is_not_written_yet_counts_already(ledger: UsageLedger, repository: Repository) -> None:
    ledger.note("key", "m", ONE)
    ledger.note("key", "m", ONE)
    ledger.note("other", "m", ONE)
    assert await repository.tokens_of_day("key", TODAY) == 0
    assert await ledger.tokens_of_day("key", TODAY) == 30
    await ledger.flush()
    ledger.note("key", "n", ONE)
    assert await repository.tokens_of_day("key", TODAY) == 30
    assert await ledger.tokens_of_day("key", TODAY) == 45
    assert await ledger.between("key", TODAY, TODAY) == {
        UsageKey("key", TODAY, "m"): ONE + ONE,
        UsageKey("key", TODAY, "n"): ONE,
    }
    yesterday = TODAY - timedelta(days=1)
    assert await ledger.between("key", yesterday, yesterday) == {}


async def test_during_a_write_nothing_is_counted_twice_or_not_at_all(
    ledger: UsageLedger, repository: Repository
) -> None:
    ledger.note("key", "m", ONE)
    repository.go_on.clear()
    flush = asyncio.create_task(ledger.flush())
    await repository.writing.wait()
    ledger.note("key", "m", ONE)
    assert await ledger.tokens_of_day("key", TODAY) == 30
    asking = asyncio.create_task(ledger.tokens_of_day("key", TODAY))
    repository.go_on.set()
    assert await asking == 30
    await flush
    assert await ledger.tokens_of_day("key", TODAY) == 30


async def test_a_write_that_fails_keeps_what_it_has(ledger: UsageLedger, repository: Repository) -> None:
    ledger.note("key", "m", ONE)
    repository.away = True
    with pytest.raises(StorageUnavailable):
        await ledger.flush()
    ledger.note("key", "m", ONE)
    repository.away = False
    await ledger.flush()
    await ledger.flush()
    assert await repository.between("key", TODAY, TODAY) == {UsageKey("key", TODAY, "m"): ONE + ONE}


async def test_it_writes_by_itself_through_an_outage_and_at_the_end(
    ledger: UsageLedger, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.001)
    repository.away = True
    with structlog.testing.capture_logs() as lines:
        async with ledger.writing():
            ledger.note("key", "m", ONE)
            for _ in range(3):
                repository.writing.clear()
                await repository.writing.wait()
            repository.away = False
            while await repository.tokens_of_day("key", TODAY) == 0:  # noqa: ASYNC110
                await asyncio.sleep(0)
            monkeypatch.setattr(module, "FLUSH_SECONDS", 1000)
            ledger.note("key", "m", ONE)
    assert await repository.tokens_of_day("key", TODAY) == 30
    # An outage is one line, not one per second.
    assert [line["event"] for line in lines] == ["usage cannot be written", "usage is written again"]


async def test_what_is_lost_at_the_end_is_said(ledger: UsageLedger, repository: Repository) -> None:
    repository.away = True
    with structlog.testing.capture_logs() as lines:
        async with ledger.writing():
            ledger.note("key", "m", ONE)
    assert lines[-1]["event"] == "usage lost at shutdown"


async def test_the_buffer_is_bounded_and_tells_what_it_dropped(
    ledger: UsageLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUFFERED", 2)
    for key in ("one", "two", "three", "one"):
        ledger.note(key, "m", ONE)
    assert ledger.dropped == 1
    assert await ledger.tokens_of_day("one", TODAY) == 30
