"""Where SQLite works in the event loop, much work is done in pages, and others get their turn in between."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert

from journal_office import Clock, Office
from servicekit.journal.tables import journal_tables
from servicekit.storage.database import Database, database_url
from servicekit.storage.deleting import PAGE_BYTES, delete_by_pages
from turns import turns_during

LARGE = b"x" * (PAGE_BYTES // 4)


@pytest.fixture
async def in_loop(tmp_path: Path) -> AsyncIterator[Office]:
    metadata = MetaData()
    tables = journal_tables(metadata)
    database = Database(database_url(f"sqlite:///{tmp_path}/journal.db"), in_loop=True)
    async with database.writing() as connection:
        await connection.run_sync(metadata.create_all)
    yield Office(database, tables, Clock())
    await database.close()


async def test_others_get_their_turn_while_large_messages_are_cleaned_away(in_loop: Office) -> None:
    for number in range(20):
        await in_loop.journal().receive(f"m{number}", "chat", LARGE, closed="nothing to do")
    in_loop.clock.turn(1)
    # Four fit into a page.
    assert await turns_during(in_loop.ledger.clean(in_loop.clock.now)) >= 5
    assert await in_loop.ledger.history(["chat"]) == []


async def test_others_get_their_turn_while_large_answers_are_cleaned_away(in_loop: Office) -> None:
    for number in range(8):
        held, entry = await in_loop.claimed(f"m{number}", f"chat {number}")
        await held.answer(entry, [LARGE, LARGE])
        await held.bury(entry, "no way")
    in_loop.clock.turn(1)
    assert await turns_during(in_loop.ledger.clean(in_loop.clock.now)) >= 4
    assert [entry.payload for entry in await in_loop.ledger.history([f"chat {n}" for n in range(8)])] == [
        b""
    ] * 8


async def test_others_get_their_turn_while_a_table_is_deleted_from(in_loop: Office) -> None:
    notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("text", LargeBinary))
    async with in_loop.database.writing() as connection:
        await connection.run_sync(notes.metadata.create_all)
        await connection.execute(insert(notes), [{"id": number, "text": LARGE} for number in range(20)])
    deleting = delete_by_pages(in_loop.database, notes.c.id, notes.c.id > 0)
    assert await turns_during(deleting) >= 5


async def test_others_get_their_turn_while_the_log_of_changes_is_scrubbed(in_loop: Office) -> None:
    await in_loop.journal().receive("m1", "chat", LARGE)
    assert await turns_during(in_loop.database.scrub()) > 0


async def test_what_is_not_due_is_not_read(in_loop: Office) -> None:
    later = in_loop.clock.now + timedelta(hours=1)
    await in_loop.journal().receive("m1", "chat", LARGE * 8, not_before=later)
    held = await in_loop.journal().hold("chat")
    assert held is not None
    tracemalloc.start()
    try:
        assert await held.due() is None
        assert tracemalloc.get_traced_memory()[1] < len(LARGE)
    finally:
        tracemalloc.stop()
    in_loop.clock.turn(3600)
    entry = await held.due()
    assert entry is not None
    assert len(entry.payload) == len(LARGE) * 8
