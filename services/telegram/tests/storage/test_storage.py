"""People and what they said, in both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import SecretSeal
from telegram_service.dialogue.history import Turn
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.settings import Creativity, Length, UserSettings
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.migrations import SCHEMA
from telegram_service.storage.people import People, settings_of
from telegram_service.storage.tables import metadata

ANNE, BOB = 42, 6_000_000_000


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Store:
    database: Database
    clock: Clock
    people: People
    conversations: Conversations

    async def say(self, entry_id: int, text: str, lane: str = "42", person: int = ANNE) -> None:
        await self.people.meet(person)
        await self.conversations.add(lane, person, entry_id, Turn(text, f"re: {text}"))

    async def heard(self, lane: str = "42") -> list[str]:
        return [turn.question for _, turn in await self.conversations.recent(lane, 50)]


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/telegram.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def store(address: str) -> AsyncIterator[Store]:
    database = Database(database_url(address))
    await upgrade(database, SCHEMA)
    clock = Clock()
    seal = SecretSeal(b"secret of the tests", "turns")
    conversations = Conversations(database, seal, clock, session_timeout=timedelta(hours=1))
    yield Store(database, clock, People(database, clock), conversations)
    await database.close()


async def test_the_migrations_make_the_tables(store: Store) -> None:
    async with store.database.reading() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert {*metadata.tables, "alembic_version"} == set(names)

        def differences(sync: object) -> object:
            return compare_metadata(MigrationContext.configure(sync), metadata)  # type: ignore[arg-type]

        assert await connection.run_sync(differences) == []
    assert await upgrade(store.database, SCHEMA) is None


async def test_somebody_new_is_met_with_the_defaults_and_keeps_their_choices(store: Store) -> None:
    assert (await store.people.meet(BOB)).settings == UserSettings()
    chosen = UserSettings("petit", Language.ENGLISH, Length.SHORT, Creativity.PRECISE, streaming=False)
    await store.people.save(BOB, chosen)
    assert (await store.people.meet(BOB)).settings == chosen


def test_settings_of_other_times_are_read_as_far_as_they_are_known() -> None:
    assert settings_of({"length": "epic", "language": "tlh", "model": "m", "x": 1}) == UserSettings(model="m")


async def test_who_is_banned_or_gone_gets_no_broadcast(store: Store) -> None:
    for person in (1, 2, 3):
        await store.people.meet(person)
    await store.people.ban(2, banned=True)
    await store.people.ban(99, banned=True)
    await store.people.mark(3, reachable=False)
    assert await store.people.reachable() == [1]
    await store.people.meet(3)
    assert await store.people.reachable() == [1, 3]
    assert (await store.people.meet(99)).banned


async def test_active_people_are_counted(store: Store) -> None:
    await store.people.meet(1)
    store.clock.now += timedelta(days=2)
    await store.people.meet(2)
    assert await store.people.active_since(store.clock.now - timedelta(days=1)) == 1


async def test_a_conversation_goes_on_in_its_lane(store: Store) -> None:
    await store.say(1, "un")
    await store.say(2, "deux")
    await store.say(3, "ailleurs", lane="-100:7")
    assert await store.heard() == ["un", "deux"]
    assert await store.heard("-100:7") == ["ailleurs"]
    assert await store.conversations.recent("42", 1) == [(2, Turn("deux", "re: deux"))]


async def test_an_answer_that_is_written_again_takes_the_place_of_the_first(store: Store) -> None:
    await store.say(1, "un")
    await store.say(1, "un, encore")
    assert await store.heard() == ["un, encore"]


async def test_a_reset_and_an_hour_of_silence_begin_anew(store: Store) -> None:
    await store.say(1, "un")
    await store.conversations.reset("42")
    assert await store.heard() == []
    await store.say(2, "deux")
    store.clock.now += timedelta(minutes=59)
    assert await store.heard() == ["deux"]
    store.clock.now += timedelta(minutes=61)
    assert await store.heard() == []
    await store.say(3, "trois")
    assert await store.heard() == ["trois"]


async def test_texts_are_sealed_in_the_database(store: Store, tmp_path: Path) -> None:
    turn = Turn("mon salaire", "votre salaire", "Document « salaire.pdf » :\n1 800 €")
    await store.people.meet(ANNE)
    await store.conversations.add("42", ANNE, 1, turn)
    async with store.database.reading() as connection:
        row = (await connection.execute(metadata.tables["turns"].select())).one()
    assert b"salaire" not in row.question + row.answer + row.document
    assert await store.conversations.recent("42", 1) == [(1, turn)]
    assert [kept.turn for kept in await store.conversations.of_person(ANNE)] == [turn]


async def test_what_is_kept_of_somebody_is_theirs_to_have_and_to_delete(store: Store) -> None:
    await store.say(1, "à moi")
    await store.say(2, "à moi aussi", lane="-100")
    await store.say(3, "à Bob", lane="-100", person=BOB)
    mine = await store.conversations.of_person(ANNE)
    assert [(kept.lane, kept.turn.question) for kept in mine] == [("42", "à moi"), ("-100", "à moi aussi")]
    await store.conversations.forget(ANNE)
    await store.people.forget(ANNE)
    assert await store.conversations.of_person(ANNE) == []
    assert await store.heard("-100") == ["à Bob"]
    async with store.database.reading() as connection:
        for table in metadata.tables.values():
            for row in await connection.execute(table.select()):
                assert ANNE not in row
                assert "42" not in row


async def test_a_ban_outlives_forgetting(store: Store) -> None:
    await store.people.meet(ANNE)
    await store.people.save(ANNE, UserSettings(model="m"))
    await store.people.ban(ANNE, banned=True)
    await store.people.forget(ANNE)
    person = await store.people.meet(ANNE)
    assert (person.banned, person.settings) == (True, UserSettings())


async def test_old_turns_are_deleted(store: Store) -> None:
    await store.say(1, "vieux")
    store.clock.now += timedelta(days=40)
    await store.say(2, "neuf")
    assert await store.conversations.clean(store.clock.now - timedelta(days=30)) == 1
    assert [kept.turn.question for kept in await store.conversations.of_person(ANNE)] == ["neuf"]


async def test_first_messages_that_are_worked_on_at_once_meet_one_person(store: Store) -> None:
    met = await asyncio.gather(*(store.people.meet(ANNE) for _ in range(8)))
    assert {person.id for person in met} == {ANNE}
    await asyncio.gather(*(store.conversations.reset("42") for _ in range(4)))
    await store.say(1, "un")
    assert await store.heard() == ["un"]
