"""When the AI core is busy, away, slow or broken: people see that it takes longer, and then one answer, or an
honest apology. Through the whole service."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
import pytest_asyncio

from scripted_core import Answers, BreaksOff, Hangs, Refuses, ScriptedCore, scripted_core
from telegram_house import Guest, House, open_house
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import Phrase, phrase

pytestmark = pytest.mark.asyncio(loop_scope="module")
module_fixture = pytest_asyncio.fixture(scope="module", loop_scope="module")

NOTE = phrase(Phrase.TAKES_LONGER, Language.FRENCH)
APOLOGY = phrase(Phrase.APOLOGY, Language.FRENCH)
TIMEOUT = 6.0


@module_fixture
async def core() -> AsyncIterator[ScriptedCore]:
    async with scripted_core() as core:
        yield core


@module_fixture
async def house(core: ScriptedCore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("house")
    async with open_house(core, folder, PROCESSING_TIMEOUT=f"{TIMEOUT}") as opened:
        yield opened


def is_put_off(house: House) -> bool:
    """Whether a message waits for a core that was busy: that is stored just after people are told."""
    with closing(sqlite3.connect(house.folder / "telegram.db")) as database:
        return database.execute("SELECT id FROM entries WHERE reason = 'Busy'").fetchone() is not None


async def versions(guest: Guest, last: str) -> list[str]:
    """All texts of the only message, once it has come to its last."""
    await guest.house.until(lambda: guest.shown()[-1:] == [last])
    (message,) = guest.house.telegram.world.from_bot(guest.person.id)
    return message.versions


async def test_a_busy_core_is_asked_again_when_it_said_and_the_answer_takes_the_place_of_the_note(
    house: House, core: ScriptedCore
) -> None:
    guest = house.guest()
    core.on("occupé ?", Refuses(429, retry_after=3), Answers("Me voici."))
    guest.say("occupé ?")
    await house.until(lambda: guest.shown() == [NOTE] and is_put_off(house))
    page = (await house.http.get("/metrics")).text
    assert 'neo_telegram_waiting_messages{reason="busy"} 1.0' in page
    assert 'neo_telegram_errors_total{kind="busy"} 1.0' in page
    assert (await versions(guest, "Me voici."))[0] == NOTE
    first, second = core.times("occupé ?")
    assert second - first >= 3


async def test_a_core_that_is_not_there_is_asked_again_with_growing_delays(
    house: House, core: ScriptedCore
) -> None:
    guest = house.guest("en")
    core.on("anybody ?", Refuses(503), Refuses(503), Answers("Yes."))
    guest.say("anybody ?")
    assert (await versions(guest, "Yes."))[0] == phrase(Phrase.TAKES_LONGER, Language.ENGLISH)
    first, second, third = core.times("anybody ?")
    assert second - first >= 2
    assert third - second >= 2


async def test_an_answer_that_breaks_off_is_asked_for_anew_and_shown_once(
    house: House, core: ScriptedCore
) -> None:
    guest = house.guest()
    core.on("la suite ?", BreaksOff("Le début"), Answers("Le début et la fin."))
    guest.say("la suite ?")
    # One message, whatever was seen of the first try: versions() accepts no other.
    assert "Le début et la fin." in await versions(guest, "Le début et la fin.")
    first, second = core.times("la suite ?")
    assert second - first >= 2


async def test_a_model_that_is_gone_is_stood_in_for_and_that_is_said(
    house: House, core: ScriptedCore
) -> None:
    guest = house.guest()
    guest.say("/switch large")
    assert await guest.hears() == [phrase(Phrase.SWITCHED, Language.FRENCH, model="large")]
    core.models.remove("large")
    try:
        guest.say("qui est là ?")
        gone = phrase(Phrase.MODEL_GONE, Language.FRENCH, model="large", default="small")
        assert await guest.hears(2) == ["qui est là ?", gone]
    finally:
        core.models.append("large")
    wanted = [asked.body.get("model") for asked in core.asked if asked.question == "qui est là ?"]
    assert wanted == ["large", None]


async def test_after_the_processing_timeout_there_is_an_apology_and_the_question_is_kept(
    house: House, core: ScriptedCore
) -> None:
    away, silent = house.guest(), house.guest()
    core.on("toujours pas ?", Refuses(503))
    core.on("encore là ?", Hangs())
    away.say("toujours pas ?")
    silent.say("encore là ?")
    assert await versions(away, APOLOGY) == [NOTE, APOLOGY]
    # One that shows signs of life and no answer is left after the time, too, not waited for for ever.
    assert await versions(silent, APOLOGY) == [APOLOGY]
    page = (await house.http.get("/metrics")).text
    assert 'neo_telegram_errors_total{kind="no_answer"} 2.0' in page
    # Whether Telegram reaches us is looked at from the start.
    assert 'neo_telegram_calls_total{call="get_webhook_info",outcome="ok"} 0.0' not in page
    for guest, question in ((away, "toujours pas ?"), (silent, "encore là ?")):
        core.on(question, Answers("Enfin."))
        guest.say("/retry")
    for guest in (away, silent):
        assert await guest.hears(2) == [APOLOGY, "Enfin."]


async def test_everybody_else_is_answered_meanwhile(house: House, core: ScriptedCore) -> None:
    waiting, other = house.guest(), house.guest()
    gate = asyncio.Event()
    core.on("un instant ?", Answers("Voilà.", gate=gate))
    waiting.say("un instant ?")
    other.say("et moi ?")
    assert await other.hears() == ["et moi ?"]
    assert waiting.shown() == []
    status = ""
    # An answer can be read a moment before its message is done with.
    while phrase(Phrase.QUEUE, Language.FRENCH, count=1) not in status:
        other.say("/status")
        (status,) = await other.hears()
    gate.set()
    assert await waiting.hears() == ["Voilà."]
