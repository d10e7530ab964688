"""Operators look into the journal, drop what was given up, and delete what somebody said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from journal_office import Office
from servicekit.journal.lane import LaneLost
from servicekit.journal.records import EntryState
from servicekit.storage.database import Database, database_url


async def test_all_that_was_said_in_some_lanes_is_read_page_by_page(office: Office) -> None:
    journal = office.journal()
    for number, lane in enumerate(("-1", "-1:7", "1", "-2", "1!", "-1")):
        await journal.receive(f"m{number}", lane, lane.encode())
    ledger = office.ledger
    first = await ledger.history(["-1", "-1:7"], limit=2)
    rest = await ledger.history(["-1", "-1:7"], after=first[-1].id)
    assert [entry.key for entry in (*first, *rest)] == ["m0", "m1", "m5"]
    assert await ledger.lanes("1") == ["1", "1!"]
    assert await ledger.lanes("%") == []


async def test_the_oldest_pending_entry_is_what_a_lane_is_at(office: Office) -> None:
    assert await office.ledger.oldest_pending("chat") is None
    held, entry = await office.claimed()
    await office.journal().receive("m2", "chat", b"")
    assert (await office.ledger.oldest_pending("chat")) is not None
    await held.finish(entry)
    following = await office.ledger.oldest_pending("chat")
    assert following is not None
    assert following.key == "m2"


async def test_only_what_was_given_up_is_dropped(office: Office) -> None:
    held, entry = await office.claimed()
    assert not await office.ledger.drop(entry.id)
    await held.answer(entry, [b"an answer"])
    await held.bury(entry, "no way")
    assert await office.ledger.drop(entry.id)
    assert await office.ledger.find(entry.id) is None
    assert await office.ledger.parts(entry.id) == []
    assert not await office.ledger.drop(entry.id)


async def test_what_is_erased_is_lost_to_who_works_on_it_and_the_rest_goes_on(office: Office) -> None:
    held, entry = await office.claimed(lane="group")
    await office.journal().receive("m2", "group", b"somebody else's")
    await held.answer(entry, [b"an answer"])
    assert [part.content for part in await office.ledger.parts(entry.id)] == [b"an answer"]
    answered = await office.ledger.find(entry.id)
    assert answered is not None
    await office.ledger.erase([answered])
    with pytest.raises(LaneLost):
        await held.finish(entry)
    assert await office.ledger.find(entry.id) is None
    assert await office.ledger.parts(entry.id) == []
    again = await office.journal().claim()
    assert again is not None
    assert [(one.key, one.state) for one in await again.pending()] == [("m2", EntryState.OPEN)]


async def test_after_a_scrub_no_file_holds_what_was_deleted(office: Office, tmp_path: Path) -> None:
    if office.database.dialect != "sqlite":
        await office.database.scrub()
        return
    words = [b"the words of somebody %d" % number for number in range(50)]
    for number, said in enumerate(words):
        await office.journal().receive(f"m{number}", "chat", said * 40)
    assert any(said in held_in(tmp_path) for said in words)
    await office.ledger.forget("chat")
    await office.database.scrub()
    assert not any(said in held_in(tmp_path) for said in words)


async def test_a_scrub_waits_for_who_reads_just_now(tmp_path: Path) -> None:
    url = database_url(f"sqlite:///{tmp_path}/journal.db")
    database = Database(url, in_loop=True)
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE words AS SELECT 'words of somebody' AS word"))
    async with database.writing() as reader:
        scrubbing = asyncio.create_task(database.scrub())
        await asyncio.wait({scrubbing}, timeout=0.1)
        assert (await reader.execute(text("DELETE FROM words"))).rowcount == 1
    await scrubbing
    assert b"words of somebody" not in held_in(tmp_path)
    await database.close()


def held_in(folder: Path) -> bytes:
    """All that its files hold."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_the_dead_are_listed_without_what_they_said(office: Office) -> None:
    held, entry = await office.claimed()
    await held.bury(entry, "no way")
    asked: list[str] = []

    def look(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", look)
    try:
        (dead,) = await office.ledger.dead_letters()
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert (dead.id, dead.reason, dead.payload) == (entry.id, "no way", b"")
    assert not any("entries.payload" in statement for statement in asked)
    found = await office.ledger.find(entry.id)
    assert found is not None
    assert found.payload == b"question"
