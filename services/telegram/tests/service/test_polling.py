"""Where Telegram cannot reach the service, it asks for updates; and keeps asking, whoever else does, and
whatever becomes of its token. Who may write, what the model is asked, what is kept how long, and how topics
are told apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, update
from tests.emulators.telegram.refusal import too_many
from tests.emulators.telegram.world import Chat, Person, Shown

from scripted_core import Answers, ScriptedCore, scripted_core
from servicekit.journal.journal import now_in_utc
from servicekit.storage.database import Database, database_url
from telegram_house import Guest, House, open_house
from telegram_server import TOKEN
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.storage.tables import conversations, journal, people, turns

pytestmark = pytest.mark.asyncio(loop_scope="module")
module_fixture = pytest_asyncio.fixture(scope="module", loop_scope="module")

ALLOWED = range(1_000, 1_010)
"""The numbers of a house's first guests."""
FORUM = Chat(-1_001, "supergroup", "Le forum", topics={7, 8})


@module_fixture
async def core() -> AsyncIterator[ScriptedCore]:
    async with scripted_core() as core:
        yield core


@module_fixture
async def house(core: ScriptedCore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    prompts = tmp_path_factory.mktemp("prompts")
    (prompts / "fr.txt").write_text("Tu es Léa.\n")
    (prompts / "en.txt").write_text("You are Léa.\n")
    settings = {
        "PROMPTS_PATH": f"{prompts}",
        "WEBHOOK_URL": "",
        "WEBHOOK_SECRET": "",
        "SECRET_KEY": "",
        "ALLOWED_USERS": ",".join(map(str, ALLOWED)),
        "RETENTION_DAYS": "2",
    }
    async with open_house(core, tmp_path_factory.mktemp("house"), **settings) as opened:
        opened.telegram.world.add_group(FORUM)
        yield opened
        assert opened.process is not None
        assert opened.process.returncode is None
        assert b"Traceback" not in b"".join(opened.log), b"".join(opened.log).decode()


async def asks_too(house: House) -> None:
    """Another program with the same token asks for updates, whenever it is not overtaken itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        while True:
            await http.post(f"{house.telegram.url}/bot{TOKEN}/getUpdates", data={"timeout": "30"})


def logged(house: House, words: str) -> bool:
    return words.encode() in b"".join(house.log)


async def test_two_who_ask_for_updates_are_told_of_each_other_and_nobody_is_lost(house: House) -> None:
    other = asyncio.create_task(asks_too(house))
    await house.until(lambda: logged(house, "another program asks for this bot's updates"))
    assert logged(house, "set WEBHOOK_URL")
    page = (await house.http.get("/metrics")).text
    assert 'neo_telegram_calls_total{call="get_updates",outcome="conflict"} 0.0' not in page
    guest = house.guest()
    guest.say("bonjour")
    other.cancel()
    await asyncio.wait({other})
    assert await guest.hears() == ["bonjour"]


async def test_a_token_that_telegram_refuses_is_told_and_waited_for(house: House) -> None:
    guest = house.guest()
    house.telegram.api.token = "7000000:another"
    house.telegram.delivery.end_polls()
    await house.until(lambda: logged(house, "Telegram does not know TELEGRAM_BOT_TOKEN any more"))
    assert not logged(house, TOKEN.partition(":")[2])
    guest.say("encore là ?")
    house.telegram.api.token = TOKEN
    assert await guest.hears() == ["encore là ?"]


async def test_a_penalty_of_telegrams_is_waited_out_and_counted(house: House) -> None:
    guest = house.guest()
    penalties = [too_many(1), too_many(2)]

    async def meddle(method: str, fields: dict[str, Any]) -> str:
        if method == "sendMessage" and fields["chat_id"] == guest.person.id and penalties:
            raise penalties.pop()
        return ""

    house.telegram.api.meddle = meddle
    guest.say("patience")
    assert await guest.hears() == ["patience"]
    page = (await house.http.get("/metrics")).text
    assert 'neo_telegram_calls_total{call="send",outcome="too_many_requests"} 2.0' in page


async def test_only_those_who_are_allowed_are_answered_and_others_learn_their_number(
    house: House, core: ScriptedCore
) -> None:
    allowed = house.guest()
    stranger = Guest(house, house.telegram.world.add_person(Person(5, "Stranger", "en")))
    stranger.say("hello")
    allowed.say("bonjour à vous")
    assert await allowed.hears() == ["bonjour à vous"]
    assert await stranger.hears() == [phrase(Phrase.NOT_ALLOWED, Language.ENGLISH, user=stranger.person.id)]
    assert core.times("hello") == []
    stranger.say("/privacy")
    assert await stranger.hears() == [phrase(Phrase.PRIVACY, Language.ENGLISH, days=2)]


async def test_topics_of_a_forum_are_conversations_of_their_own(house: House, core: ScriptedCore) -> None:
    world = house.telegram.world
    guest = house.telegram.world.people[ALLOWED[0]]

    async def says(words: str, thread: int, **fields: Any) -> Shown:
        before = len(world.from_bot(FORUM.id))
        # Whoever replies to the bot need not name it.
        text = words if fields else f"@neo_test_bot {words}"
        world.say(guest, FORUM.id, text=text, message_thread_id=thread, **fields)
        house.telegram.delivery.announce()
        await house.until(lambda: len(world.from_bot(FORUM.id)) > before)
        answer = world.from_bot(FORUM.id)[-1]
        assert answer.versions[-1] == words
        assert answer.fields.get("message_thread_id") == thread
        return answer

    def read(words: str) -> str:
        (asked,) = [asked for asked in core.asked if asked.question == words]
        return " ".join(message["content"] for message in asked.body["messages"][1:])

    world.say(guest, FORUM.id, text="entre nous", message_thread_id=7)
    seven = await says("le sept", 7)
    await says("le huit", 8)
    await says("encore le sept", 7, reply_to_message=world.view(seven))
    assert core.times("entre nous") == []
    assert read("le huit") == "le huit"
    assert read("encore le sept") == "le sept le sept encore le sept"


async def test_the_two_halves_of_a_long_text_are_one_question(house: House, core: ScriptedCore) -> None:
    guest, (first, second) = house.guest(), ("a " * 2_048, "et la fin ?")
    core.on(first + second, Answers("Tout lu."))
    guest.say(first)
    guest.say(second)
    assert await guest.hears() == ["Tout lu."]
    guest.say("merci")
    assert await guest.hears() == ["merci"]


async def test_what_was_written_before_a_stop_stays_and_is_remembered(
    house: House, core: ScriptedCore
) -> None:
    guest = house.guest()
    core.on("raconte", Answers("Il était une fois " * 50, pieces=200, pause=0.1))
    guest.say("raconte")
    await house.until(guest.shown)
    guest.say("/stop")
    story, stopped = await guest.hears(2)
    assert stopped == phrase(Phrase.CUT_SHORT, Language.FRENCH)
    assert story.startswith("Il était une fois")
    guest.say("et après ?")
    await guest.hears()
    assert core.asked[-1].body["messages"][-2] == {"role": "assistant", "content": story}


async def test_what_somebody_chooses_is_what_the_model_is_asked_for(house: House, core: ScriptedCore) -> None:
    guest = house.guest()
    guest.say("réponds")
    await guest.hears()
    guest.say("/settings")
    await house.until(guest.shown)
    (settings,) = house.telegram.world.from_bot(guest.person.id)
    for seen, choice in enumerate(("length:short", "creativity:precise", "language:en"), 1):
        guest.press(choice)
        await house.until(partial(_is_changed, settings, seen))
    guest.say("réponds autrement")
    await guest.hears(2)
    before, after = (asked.body for asked in core.asked[-2:])
    assert after["max_tokens"] < before["max_tokens"]
    assert after["temperature"] < before["temperature"]
    assert [body["messages"][0]["content"] for body in (before, after)] == ["Tu es Léa.", "You are Léa."]


def _is_changed(shown: Shown, versions: int) -> bool:
    return len(shown.versions) > versions


async def test_what_is_older_than_the_retention_goes_at_the_next_start(house: House) -> None:
    old, recent = house.guest(), house.guest()
    old.say("de trop vieux mots")
    assert await old.hears() == ["de trop vieux mots"]
    recent.say("de nouveaux mots")
    assert await recent.hears() == ["de nouveaux mots"]
    await house.stop()
    database = Database(database_url(house.settings["DATABASE_URL"]))
    number, name, then = old.person.id, str(old.person.id), now_in_utc() - timedelta(days=3)
    async with database.writing() as connection:
        for aged in (
            update(people).where(people.c.id == number).values(last_seen=then),
            update(turns).where(turns.c.person_id == number).values(at=then),
            update(conversations).where(conversations.c.lane == name).values(last_used=then),
            update(journal.entries).where(journal.entries.c.lane == name).values(closed_at=then),
            update(journal.lanes).where(journal.lanes.c.name == name).values(leased_until=then),
        ):
            await connection.execute(aged)
    await database.close()
    assert "de trop vieux mots" in in_files(house)
    await house.start()
    await house.until(lambda: logged(house, "old messages deleted"))
    await house.until(lambda: "de trop vieux mots" not in in_files(house))
    database = Database(database_url(house.settings["DATABASE_URL"]))
    async with database.reading() as connection:
        known = (await connection.execute(select(people.c.id))).scalars().all()
        lanes = (await connection.execute(select(journal.lanes.c.name))).scalars().all()
    await database.close()
    assert number not in known
    assert name not in lanes
    assert recent.person.id in known
    assert "de nouveaux mots" in in_files(house)


def in_files(house: House) -> str:
    return b"".join(path.read_bytes() for path in house.folder.rglob("*") if path.is_file()).decode(
        errors="replace"
    )
