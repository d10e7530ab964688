"""SECRET_KEY changes while people go on writing; and broadcasts as they are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servicekit.journal.journal import Journal, now_in_utc
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import PlainSeal, Seal, SecretSeal, Unreadable
from telegram_service.dialogue.incoming import Language
from telegram_service.storage.broadcasts import Broadcasts, BroadcastState, Fate
from telegram_service.storage.migrations import SCHEMA
from telegram_service.storage.people import People
from telegram_service.storage.resealing import ANSWERS, UPDATES, Resealed, reseal
from telegram_service.storage.tables import journal as journal_tables

OLD, NEW, LOST = (SecretSeal(key, "telegram") for key in (b"old", b"new", b"lost"))


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/telegram.db"
    else:
        url = request.getfixturevalue("postgres_url")
    database = Database(database_url(url))
    await upgrade(database, SCHEMA)
    yield database
    await database.close()


async def fill(database: Database, seal: Seal, name: str) -> None:
    """One of each kind of sealed value."""
    journal = Journal(database, journal_tables)
    await journal.receive(name, name, seal.close(b"an update", UPDATES))
    held = await journal.hold(name)
    assert held is not None
    (entry,) = await held.pending()
    await held.answer(entry, [seal.close(b"an answer", ANSWERS)])
    await held.release()
    await Broadcasts(database, now_in_utc).draft(name, 1, Language.FRENCH, seal.close(b"to all", ANSWERS))


async def opened(database: Database, seal: Seal) -> list[bytes]:
    """What a seal can read."""
    found = []
    for table, column, place in (
        (journal_tables.entries, "payload", UPDATES),
        (journal_tables.parts, "content", ANSWERS),
    ):
        async with database.reading() as connection:
            rows = (await connection.execute(table.select())).mappings().all()
        for row in rows:
            try:
                found.append(seal.open(row[column], place))
            except Unreadable:
                continue
    return found


async def test_what_old_keys_and_no_key_have_sealed_is_sealed_anew(database: Database) -> None:
    for seal, name in ((OLD, "1"), (NEW, "2"), (PlainSeal(), "3"), (LOST, "4")):
        await fill(database, seal, name)
    done = await reseal(database, NEW, [OLD, PlainSeal()])
    assert done == Resealed(renewed=6, current=3, unreadable=3)
    assert sorted(await opened(database, NEW)) == [b"an answer"] * 3 + [b"an update"] * 3
    assert await opened(database, OLD) == []
    assert await reseal(database, NEW, [OLD]) == Resealed(renewed=0, current=9, unreadable=3)


async def test_many_rows_take_several_pages(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telegram_service.storage.resealing.PAGE", 2)
    for number in range(5):
        await fill(database, OLD, f"{number}")
    assert (await reseal(database, NEW, [OLD])).renewed == 15


async def test_a_broadcast_has_each_recipient_once_and_keeps_only_counts(database: Database) -> None:
    people, broadcasts = People(database, now_in_utc), Broadcasts(database, now_in_utc)
    for number in range(1, 6):
        await people.meet(number)
    await people.ban(4, banned=True)
    await people.mark(5, reachable=False)
    assert await broadcasts.audience(frozenset()) == 3
    assert await broadcasts.audience(frozenset({2, 4})) == 1
    number = await broadcasts.draft("update", 1, Language.FRENCH, b"text")
    assert await broadcasts.draft("update", 1, Language.FRENCH, b"again") == number
    assert await broadcasts.current() is None
    assert await broadcasts.start(number, 2, frozenset()) is None, "it is somebody else's"
    assert await broadcasts.start(number, 1, frozenset()) == 3
    assert await broadcasts.start(number, 1, frozenset()) is None, "it runs already"
    assert await broadcasts.following(number) == 1
    assert await broadcasts.claim(number, 1)
    assert not await broadcasts.claim(number, 1)
    await broadcasts.resume(number)
    assert await broadcasts.counts(number) == {Fate.UNKNOWN: 1, Fate.OPEN: 2}
    await broadcasts.forget(2)
    assert await broadcasts.stop(number, 1)
    assert await broadcasts.following(number) is None
    await broadcasts.conclude(number, await broadcasts.counts(number))
    over = await broadcasts.current()
    assert over is not None
    assert (over.state, over.counts) == (BroadcastState.REPORTING, {"unknown": 1, "stopped": 1})
    assert await broadcasts.counts(number) == {}
    await broadcasts.close(number)
    assert await broadcasts.current() is None
    assert not await broadcasts.stop(number, 1)


async def test_a_draft_can_be_thrown_away_by_its_author_only(database: Database) -> None:
    broadcasts = Broadcasts(database, now_in_utc)
    number = await broadcasts.draft("update", 1, Language.FRENCH, b"text")
    assert not await broadcasts.stop(number, 2)
    assert await broadcasts.stop(number, 1)
    assert await broadcasts.start(number, 1, frozenset()) is None
