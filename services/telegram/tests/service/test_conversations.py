"""People talk with the whole service, in French and in English, with every command: its own process, a real
AI core with the demo model, Redis and PostgreSQL. What they saw is judged."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ai_core_service import QUESTIONS, Server, running
from telegram_house import Guest, House, open_house
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import CHOSEN, Phrase, phrase
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages

ADMIN = 1_000
"""The number of the first guest of a house."""
ASKED = {Language.FRENCH: QUESTIONS[1], Language.ENGLISH: QUESTIONS[6]}


@pytest.fixture(scope="module")
def core() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
async def house(core: Server, tmp_path: Path, redis_url: str, postgres_url: str) -> AsyncIterator[House]:
    settings = {
        "TELEGRAM_DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "ADMIN_USERS": f"{ADMIN}",
        "MAX_MESSAGES_PER_MINUTE": "300",
    }
    async with open_house(core, tmp_path, **settings) as opened:
        yield opened
        assert b"Traceback" not in b"".join(opened.log), b"".join(opened.log).decode()


class Talk:
    """One person's conversation: says something, and waits for what it should bring."""

    def __init__(self, house: House, guest: Guest, language: Language) -> None:
        self.house = house
        self.guest = guest
        self.language = language

    async def asks(self, text: str, count: int = 1) -> list[str]:
        """What the bot says to it, complete."""
        self.guest.say(text)
        return await self.guest.hears(count)

    async def says(self, text: str, *expected: Phrase, **values: object) -> None:
        """What the bot says to it is this."""
        assert await self.asks(text, len(expected)) == [self.text(one, **values) for one in expected]

    def text(self, which: Phrase, **values: object) -> str:
        (message,) = to_messages(read_markdown(phrase(which, self.language, **values)))
        return message.text

    async def presses(self, data: str, which: Phrase, **values: object) -> list[str]:
        """A button of the last message, which becomes something else; its buttons now."""
        shown = self.house.telegram.world.from_bot(self.guest.person.id)[-1]
        versions = len(shown.versions)
        self.guest.press(data)
        await self.house.until(lambda: len(shown.versions) > versions)
        assert shown.versions[-1] == self.text(which, **values)
        keyboard: dict[str, Any] = shown.fields.get("reply_markup", {})
        return [button["text"] for row in keyboard.get("inline_keyboard", []) for button in row]


async def converse(house: House, guest: Guest, language: Language) -> None:
    """With every command that is for everybody."""
    talk, question = Talk(house, guest, language), ASKED[language]
    await talk.says("/start", Phrase.WELCOME, days=30)
    (answer,) = await talk.asks(question)
    assert "Neo" in answer
    await talk.says("/help", Phrase.HELP)
    await talk.says("/privacy", Phrase.PRIVACY, days=30)
    (status,) = await talk.asks("/status")
    assert status.splitlines()[0] == talk.text(Phrase.STATUS, model="", queue="").splitlines()[0]
    assert "neo-demo" in status
    await talk.says("/switch nothing", Phrase.NO_SUCH_MODEL, model="nothing")
    await talk.says("/switch neo-demo", Phrase.SWITCHED, model="neo-demo")
    guest.say("/models")
    await house.until(guest.shown)
    buttons = await talk.presses("model:neo-demo", Phrase.SWITCHED, model="neo-demo")
    assert len(buttons) > 5, "the settings, to go on with"
    house.telegram.world.clear(guest.person.id)
    await choose(talk)
    (again,) = await talk.asks("/retry")
    assert again
    await talk.says("/stop", Phrase.NOTHING_RUNS)
    await talk.says("/reset", Phrase.RESET)
    await talk.says("/retry", Phrase.NOTHING_TO_RETRY)
    await talk.says("/dance", Phrase.UNKNOWN_COMMAND)
    await talk.says("/stats", Phrase.ADMINS_ONLY)
    await take_away(talk, question, answer)


async def choose(talk: Talk) -> None:
    """Each setting, with the keyboard that changes in place."""
    guest, world = talk.guest, talk.house.telegram.world
    guest.say("/settings")
    await talk.house.until(guest.shown)
    for data in ("length:short", "creativity:precise", "streaming:off"):
        buttons = await talk.presses(data, Phrase.SETTINGS)
        assert sum(button.startswith(CHOSEN) for button in buttons) == 4
    other = Language.ENGLISH if talk.language is Language.FRENCH else Language.FRENCH
    talk.language, own = other, talk.language
    await talk.presses(f"language:{other}", Phrase.SETTINGS)
    talk.language = own
    await talk.presses(f"language:{own}", Phrase.SETTINGS)
    await talk.presses("models:show", Phrase.MODELS)
    world.clear(guest.person.id)


async def take_away(talk: Talk, question: str, answer: str) -> None:
    """Their data; then they want to be forgotten."""
    guest, world = talk.guest, talk.house.telegram.world
    guest.say("/export")
    await talk.house.until(lambda: world.from_bot(guest.person.id))
    document = world.from_bot(guest.person.id)[-1].fields["document"]
    export = json.loads(world.files.by_id[document["file_id"]].content)
    assert export["id"] == guest.person.id
    assert export["conversations"][0]["question"] == question
    assert export["person"]["settings"]["length"] == "short"
    texts = [said["update"]["message"]["text"] for said in export["messages"] if "message" in said["update"]]
    assert texts[:2] == ["/start", question]
    assert [answer] in [said["answers"] for said in export["messages"]]
    world.clear(guest.person.id)
    guest.say("/forget")
    await talk.house.until(guest.shown)
    await talk.presses("forget:no", Phrase.KEPT)
    world.clear(guest.person.id)
    guest.say("/forget")
    await talk.house.until(guest.shown)
    await talk.presses("forget:yes", Phrase.FORGOTTEN)
    world.clear(guest.person.id)
    await talk.says("/retry", Phrase.NOTHING_TO_RETRY)


async def test_every_command_in_french_and_in_english(house: House) -> None:
    house.guest()  # the administrator, who says nothing here
    people = {language: house.guest(language.value) for language in Language}
    await asyncio.gather(*(converse(house, guest, language) for language, guest in people.items()))


async def test_what_administrators_do(house: House) -> None:
    admin, anne = house.guest("en"), house.guest("fr")
    office, talk = Talk(house, admin, Language.ENGLISH), Talk(house, anne, Language.FRENCH)
    await talk.says("/start", Phrase.WELCOME, days=30)
    await office.says("/help", Phrase.HELP, Phrase.HELP_ADMIN)
    (stats,) = await office.asks("/stats")
    assert stats.startswith("People known: 2, of whom 2 since yesterday")
    await office.says("/ban", Phrase.BAN_USAGE, command="ban")
    await office.says(f"/ban {anne.person.id}", Phrase.BANNED, user=anne.person.id)
    anne.say("/help")
    (stats,) = await office.asks("/stats")
    assert "People shut out: 1" in stats
    await office.says(f"/unban {anne.person.id}", Phrase.LET_IN, user=anne.person.id)
    assert anne.shown() == []
    await talk.says("/help", Phrase.HELP)
    await office.says("/broadcast", Phrase.BROADCAST_USAGE)
    await office.says("/broadcast " + "x" * 4_090 + " y" * 10, Phrase.BROADCAST_TOO_LONG)


async def test_a_broadcast_outlives_a_kill_and_each_gets_it_once(house: House) -> None:
    world = house.telegram.world
    admin = house.guest("fr")
    guests = [house.guest() for _ in range(24)]
    office = Talk(house, admin, Language.FRENCH)
    for guest in guests:
        guest.say("/help")
    await house.until(lambda: all(guest.shown() for guest in guests))
    for guest in guests:
        world.clear(guest.person.id)
    blocked = guests[-1].person
    blocked.has_blocked = True
    admin.say("/broadcast **Bonsoir** à tous")
    await house.until(lambda: len(admin.shown()) == 2)
    assert admin.shown() == ["Bonsoir à tous", office.text(Phrase.BROADCAST_ASK, count=25)]
    ((send, _),) = world.from_bot(admin.person.id)[-1].fields["reply_markup"]["inline_keyboard"]
    await office.presses(send["callback_data"], Phrase.BROADCAST_BEGUN, count=25)
    await house.until(lambda: sum(guest.shown() == ["Bonsoir à tous"] for guest in guests) >= 5)
    await house.stop(signal.SIGKILL)
    await house.start()
    report = "L'envoi est terminé."
    await house.until(lambda: any(text.startswith(report) for text in admin.shown()))
    told = next(text for text in admin.shown() if text.startswith(report))
    counts = {line.split(" : ")[0]: int(line.split(" : ")[1]) for line in told.splitlines() if " : " in line}
    assert counts["Ne veulent plus du bot"] == 1
    assert counts["Peut-être reçu"] <= 1
    assert sum(counts.values()) == 25
    received = [guest.shown().count("Bonsoir à tous") for guest in guests[:-1]]
    assert set(received) <= {0, 1}
    assert received.count(0) <= counts["Peut-être reçu"]
