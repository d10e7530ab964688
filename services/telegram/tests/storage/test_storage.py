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
from telegram_service.storage.conversations import Conversation, Conversations, Remembered
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
        number = (await self.conversations.recent(lane, 1)).number
        await self.conversations.add(lane, person, entry_id, Turn(text, f"re: {text}"), number)

    async def heard(self, lane: str = "42", most_turns: int = 50) -> list[str]:
        return [one.turn.question for one in (await self.conversations.recent(lane, most_turns)).turns]


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
    conversation = await store.conversations.recent("42", 1)
    assert conversation.turns == [Remembered(2, ANNE, Turn("deux", "re: deux"))]


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
    number = (await store.conversations.recent("42", 1)).number
    await store.conversations.add("42", ANNE, 1, turn, number)
    async with store.database.reading() as connection:
        row = (await connection.execute(metadata.tables["turns"].select())).one()
    assert b"salaire" not in row.question + row.answer + row.document
    assert await store.conversations.recent("42", 1) == Conversation(number, [Remembered(1, ANNE, turn)])
    assert [kept.turn for kept in await store.conversations.of_person(ANNE)] == [turn]


async def test_what_is_kept_of_somebody_is_theirs_to_have_and_to_delete(store: Store) -> None:
    await store.say(1, "à moi")
    await store.say(2, "à moi aussi", lane="-100")
    await store.say(3, "à Bob", lane="-100", person=BOB)
    mine = await store.conversations.of_person(ANNE)
    assert [kept.lane for kept in mine] == ["42", "-100"]
    texts = ["à moi", "à moi aussi"]
    assert [kept.turn for kept in mine] == [Turn(text, f"re: {text}") for text in texts]
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
    (kept,) = await store.conversations.of_person(ANNE)
    assert kept.turn == Turn("neuf", "re: neuf")


async def test_first_messages_that_are_worked_on_at_once_meet_one_person(store: Store) -> None:
    met = await asyncio.gather(*(store.people.meet(ANNE) for _ in range(8)))
    assert {person.id for person in met} == {ANNE}
    await asyncio.gather(*(store.conversations.reset("42") for _ in range(4)))
    await store.say(1, "un")
    assert await store.heard() == ["un"]


async def test_what_was_asked_before_a_reset_belongs_to_the_conversation_before(store: Store) -> None:
    await store.people.meet(ANNE)
    before = await store.conversations.recent("42", 9)
    await store.conversations.reset("42")
    await store.conversations.add("42", ANNE, 1, Turn("un", "la moitié"), before.number)
    assert await store.heard() == []
    await store.say(2, "deux")
    await store.conversations.add("42", ANNE, 1, Turn("un", "tout"), before.number + 1)
    assert await store.heard() == ["deux"]


@pytest.mark.parametrize("lane", ["-100", f"{BOB}"])
async def test_whoever_gets_the_number_of_a_deleted_message_shares_nothing_with_it(
    store: Store, lane: str
) -> None:
    """SQLite gives it again. What is left of the one before may be in another chat, or of a group's other
    member."""
    await store.say(1, "d'Anne", lane="-100")
    await store.conversations.reset(lane)
    await store.say(1, "de Bob", lane=lane, person=BOB)
    assert await store.conversations.of_person(ANNE) == []
    (kept,) = await store.conversations.of_person(BOB)
    assert (kept.lane, kept.turn) == (lane, Turn("de Bob", "re: de Bob"))
    assert await store.heard(lane) == ["de Bob"]
    await store.conversations.forget(BOB)
    assert await store.heard(lane) == []


async def test_long_conversations_begin_with_the_same_turn_for_a_block_of_questions(store: Store) -> None:
    begins = []
    for number in range(1, 26):
        await store.say(number, f"{number}")
        begins.append((await store.heard(most_turns=8))[0])
    assert begins == ["1"] * 11 + ["5"] * 4 + ["9"] * 4 + ["13"] * 4 + ["17"] * 2


async def test_a_turn_that_cannot_be_opened_any_more_takes_nothing_else_with_it(store: Store) -> None:
    await store.say(1, "avant")
    seal = SecretSeal(b"another secret", "turns")
    renewed = Conversations(store.database, seal, store.clock, session_timeout=timedelta(hours=1))
    await renewed.add("42", ANNE, 2, Turn("après", "oui"), (await renewed.recent("42", 9)).number)
    assert [one.entry_id for one in (await renewed.recent("42", 9)).turns] == [2]
    assert [kept.turn for kept in await renewed.of_person(ANNE)] == [None, Turn("après", "oui")]


async def test_forgetting_one_touches_no_conversation_of_others(store: Store) -> None:
    await store.conversations.recent(f"{ANNE}:7", 1)
    await store.conversations.reset(f"{BOB}")
    await store.say(1, "à moi")
    await store.conversations.forget(ANNE, [f"{ANNE}:7"])
    async with store.database.reading() as connection:
        rows = (await connection.execute(metadata.tables["conversations"].select())).all()
    assert [(row.lane, row.number) for row in rows] == [(f"{BOB}", 2)]


async def test_who_has_not_written_for_long_is_deleted_unless_shut_out(store: Store) -> None:
    many = [
        {"id": number, "settings": {}, "banned": number == 5, "reachable": True} for number in range(2_001)
    ]
    seen = {"first_seen": store.clock.now, "last_seen": store.clock.now}
    async with store.database.writing() as connection:
        await connection.execute(metadata.tables["people"].insert(), [one | seen for one in many])
    store.clock.now += timedelta(days=40)
    await store.people.meet(7)
    assert await store.people.clean(store.clock.now - timedelta(days=30)) == 1_999
    assert {known.person.id for known in await store.people.listed()} == {5, 7}
