"""Files that people send, through the whole service: fetched, read, and part of the question.

The scripted engine says again what it is asked, so the answer shows what the model was given to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

import document_samples as samples
from ai_core_service import Server, running
from telegram_house import House, open_house
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import Phrase, phrase
from transcription_upstream import KEY, MODEL, TEXT, UpstreamServer, upstream_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
module_fixture = pytest_asyncio.fixture(scope="module", loop_scope="module")

FRENCH = Language.FRENCH
SUMMARY = phrase(Phrase.ABOUT_DOCUMENT, FRENCH)


@module_fixture
async def upstream() -> AsyncIterator[UpstreamServer]:
    async with upstream_server() as server:
        yield server


@pytest.fixture(scope="module")
def core(upstream: UpstreamServer) -> Iterator[Server]:
    with running(
        ENGINE_BACKEND="scripted",
        MODEL_NAME="scripted",
        TRANSCRIPTION_URL=upstream.url,
        TRANSCRIPTION_API_KEY=KEY,
        TRANSCRIPTION_MODEL=MODEL,
    ) as server:
        yield server


@module_fixture
async def house(core: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("house")
    # The model remembers hardly anything of what was said: what it reads of a document, it reads as such.
    limits = {
        "MAX_CONVERSATION_CHARACTERS": "100",
        "MAX_DOCUMENT_CHARACTERS": "600",
        "MAX_FILE_SIZE": "2000000",
    }
    async with open_house(core, folder, **limits) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("bail.pdf", samples.pdf("Le loyer est de 500 euros."), "Le loyer est de 500 euros."),
        ("bail.docx", samples.word("Le loyer", "500 €"), "Le loyer\n500 €"),
        ("bail.txt", "Le loyer : 500 €".encode("cp1252"), "Le loyer : 500 €"),
        ("bail.md", b"Le *loyer*", "Le loyer"),
        ("vieux.doc", samples.word_97("Le loyer"), "Le loyer"),
    ],
)
async def test_a_document_is_read_and_its_caption_is_the_question(
    house: House, name: str, content: bytes, text: str
) -> None:
    anne = house.guest()
    anne.give(name, content, caption="Combien ?")
    assert await anne.hears() == [f"Document « {name} » :\n{text}\n\nCombien ?"]


async def test_a_document_without_a_word_is_summed_up_and_later_questions_are_about_it_too(
    house: House,
) -> None:
    bob = house.guest("en")
    bob.give("notes.txt", b"The rent is 500 euros. " * 5)
    (answer,) = await bob.hears()
    framed = answer.removesuffix(phrase(Phrase.ABOUT_DOCUMENT, Language.ENGLISH))
    assert framed.startswith('Document "notes.txt":')
    bob.say("And the deposit?")
    assert await bob.hears() == [f"{framed}And the deposit?"]
    bob.say("/reset")
    await bob.hears()
    bob.say("And now?")
    assert await bob.hears() == ["And now?"]


async def test_a_long_document_is_cut_and_that_is_said(house: House) -> None:
    anne = house.guest()
    anne.give("long.txt", b"abc " * 1_000, caption="Alors ?")
    answer, notice = await anne.hears(2)
    assert answer.startswith("Document « long.txt » :\nabc abc")
    assert answer.endswith("abc\n[…]\n\nAlors ?")
    assert notice == phrase(Phrase.DOCUMENT_CUT, FRENCH, characters=len(answer) - len("\n\nAlors ?"))


async def test_the_text_of_a_picture_is_read(house: House) -> None:
    anne = house.guest()
    anne.give("scan.jpg", samples.LETTER_PNG.read_bytes(), kind="photo", caption="Quand ?")
    (answer,) = await anne.hears()
    heading, *lines = answer.removesuffix("\n\nQuand ?").split("\n")
    assert heading == "Texte lu sur une image :"
    assert " ".join(" ".join(lines).split()) == samples.LETTER


async def test_a_voice_message_is_heard(house: House, upstream: UpstreamServer) -> None:
    anne = house.guest()
    anne.give("voice.oga", b"OggS" + bytes(100), kind="voice")
    assert await anne.hears() == [TEXT]
    assert upstream.audio[-1] == b"OggS" + bytes(100)


REFUSED: dict[str, tuple[Callable[[], bytes], Phrase]] = {
    "a password": (lambda: samples.word_97("a", locked=True), Phrase.FILE_ENCRYPTED),
    "a scan without text": (lambda: samples.pdf(""), Phrase.FILE_EMPTY),
    "half a file": (lambda: samples.pdf("a" * 1_000)[:700], Phrase.FILE_UNREADABLE),
    "a program": (lambda: b"\x7fELF" + bytes(1_000), Phrase.FILE_UNREADABLE),
    "nothing": (lambda: b"", Phrase.FILE_EMPTY),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_be_read_is_said_and_leaves_no_trace(house: House, what: str) -> None:
    make, why = REFUSED[what]
    anne = house.guest()
    anne.give("x.pdf", make(), caption="Alors ?")
    assert await anne.hears() == [phrase(why, FRENCH)]
    anne.say("Bonjour")
    assert await anne.hears() == ["Bonjour"]


async def test_somebody_is_seen_at_work_while_a_file_is_read(house: House) -> None:
    anne, at_work = house.guest(), asyncio.Event()

    async def slowly(method: str, _fields: dict[str, Any]) -> str:
        """A file takes as long as it takes until somebody is seen at work."""
        if method == "sendChatAction":
            at_work.set()
        elif method == "download":
            await at_work.wait()
        return ""

    usual, house.telegram.api.meddle = house.telegram.api.meddle, slowly
    try:
        anne.give("x.pdf", samples.encrypted(samples.pdf("a"), "secret"))
        await anne.hears()
    finally:
        house.telegram.api.meddle = usual
    happened = [one.what for one in house.telegram.world.transcript if one.chat_id == anne.person.id]
    assert happened == ["said", "typing", "sent"]


async def test_a_file_that_is_too_heavy_is_not_even_fetched(house: House) -> None:
    anne = house.guest()
    before = house.telegram.api.calls.count("getFile")
    anne.give("x.pdf", bytes(2_000_001))
    assert await anne.hears() == [phrase(Phrase.FILE_TOO_LARGE, FRENCH, megabytes=2)]
    assert house.telegram.api.calls.count("getFile") == before


async def test_what_nobody_reads_is_answered_kindly(house: House) -> None:
    anne = house.guest()
    anne.say("", sticker={"file_id": "s"})
    assert await anne.hears() == [phrase(Phrase.NO_FILES, FRENCH)]


async def test_a_download_that_breaks_off_or_comes_too_late_is_tried_again(house: House) -> None:
    fates = iter(["cut", "expired"])

    async def meddle(method: str, fields: dict[str, Any]) -> str:
        fate = next(fates, "") if method == "download" else ""
        if fate == "expired":
            house.telegram.world.files.valid_until[fields["path"]] = 0.0
        return "before" if fate == "cut" else ""

    house.telegram.api.meddle = meddle
    guests = [house.guest(), house.guest()]
    for guest in guests:
        guest.give("bail.txt", b"500", caption="Combien ?")
    for guest in guests:
        assert await guest.hears() == ["Document « bail.txt » :\n500\n\nCombien ?"]
    assert next(fates, "") == ""


async def test_several_people_send_files_at_once(house: House) -> None:
    guests = [house.guest() for _ in range(6)]
    for number, guest in enumerate(guests):
        guest.give(f"{number}.txt", f"Numéro {number}".encode(), caption="?")
    heard = await asyncio.gather(*(guest.hears() for guest in guests))
    assert heard == [[f"Document « {number}.txt » :\nNuméro {number}\n\n?"] for number in range(6)]
