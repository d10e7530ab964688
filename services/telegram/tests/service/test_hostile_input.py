"""What strangers send who mean no good, through the whole service: each is answered or left alone, nothing
breaks, and whoever comes next is served.

The scripted engine says again what it is asked.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.emulators.telegram.world import Chat

import document_samples as samples
from ai_core_service import Server, running
from servicekit.serving.health import Health
from telegram_house import SECRET, Guest, House, open_house
from telegram_server import TOKEN
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.web import SECRET_HEADER, WEBHOOK_PATH, Door, create_web

pytestmark = pytest.mark.asyncio(loop_scope="module")
OPERATOR = 1
BUREAU = -1001


def french(which: Phrase, **values: object) -> str:
    return phrase(which, Language.FRENCH, **values)


@pytest.fixture(scope="module")
def core() -> Iterator[Server]:
    with running(ENGINE_BACKEND="scripted", MODEL_NAME="scripted") as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(core: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("house") / "deep/er"
    folder.mkdir(parents=True)
    async with open_house(core, folder, ADMIN_USERS=f"{OPERATOR}") as opened:
        yield opened


async def still_served(house: House, guest: Guest | None = None) -> None:
    """Somebody writes, and is answered; nothing has gone wrong meanwhile."""
    anne = guest or house.guest()
    anne.say("Toujours là ?")
    assert (await anne.hears())[-1] == "Toujours là ?"
    said = b"".join(house.log)
    assert b"Traceback" not in said
    assert not any(secret.encode() in said for secret in (TOKEN, SECRET, "Toujours là"))
    assert b'"level":"error"' not in said.replace(b" ", b"")


async def test_a_megabyte_of_text(house: House) -> None:
    anne = house.guest()
    anne.say("a" * 1_000_000)
    assert await anne.hears() == [french(Phrase.TOO_LONG)]
    await still_served(house, anne)


async def test_more_than_a_megabyte_is_refused_whatever_the_headers_say(house: House) -> None:
    large = json.dumps({"update_id": 1, "message": {"text": "a" * 1_100_000}}).encode()
    assert (await house.post(large)).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"[" * 100_000

    response = await house.http.post(WEBHOOK_PATH, content=chunks(), headers={SECRET_HEADER: SECRET})
    assert response.status_code == 413
    await still_served(house)


@pytest.mark.parametrize(
    "text",
    [
        "\u202eCe texte va de droite à gauche\u202c, شكرا جزيلا وداعا",
        "Z\u0341\u0302\u0303a\u0334\u0335l\u0336\u0337g\u0338\u0300o" + "\u0301\u0302\u0303\u0304" * 50,
        "\u200b\u200e\ufeffinvisible\u00ad\u2060",
        "\x01\x02 control \x1b[31m characters \x7f",
        "👩‍👩‍👧‍👦" * 20,
        "𝔉𝔯𝔞𝔨𝔱𝔲𝔯 <script>alert(1)</script> {days} %s ${x} '; DROP TABLE turns; --",
    ],
)
async def test_strange_writing_is_answered_as_it_is(house: House, text: str) -> None:
    anne = house.guest()
    anne.say(text)
    (answer,) = await anne.hears()
    assert re.sub(r"\s", "", answer) == re.sub(r"\s", "", text)


async def test_ten_thousand_emoji(house: House) -> None:
    anne = house.guest()
    anne.say("😀" * 10_000)
    assert await anne.hears() == [french(Phrase.TOO_LONG)]
    anne.say("😀" * 150)
    assert await anne.hears() == ["😀" * 150]


async def test_a_pdf_bomb(house: House) -> None:
    anne = house.guest()
    anne.give("facture.pdf", samples.pdf_bomb(), caption="Combien ?")
    assert await anne.hears() == [french(Phrase.FILE_TOO_MUCH)]
    anne.give("facture.pdf", samples.deep_pdf(), caption="Combien ?")
    assert await anne.hears() == [french(Phrase.FILE_UNREADABLE)]
    await still_served(house, anne)


def _files_around(folder: Path) -> set[Path]:
    return {path for path in folder.parents[1].rglob("*") if not path.name.startswith("telegram.db")}


async def test_a_document_whose_name_is_a_path(house: House) -> None:
    before = _files_around(house.folder)
    names = ("../../x", "/etc/passwd", "..\\..\\x", "a\x00b", "x" * 5_000)
    guests = [house.guest() for _ in names]
    for guest, name in zip(guests, names, strict=True):
        guest.give(name, b"Bonjour", caption="Lisez")
    for guest in guests:
        (answer,) = await guest.hears()
        heading, text, *_ = answer.split("\n")
        assert not set("/\\\x00") & set(heading)
        assert len(heading) < 120
        assert text == "Bonjour"
    assert _files_around(house.folder) == before


FOREIGN = (
    "",
    "x",
    "length:enormous",
    "language:xx",
    "forget:perhaps",
    "forget",
    "streaming:",
    "::",
    "ü" * 32,
)


async def test_buttons_that_this_bot_never_made(house: House) -> None:
    anne = house.guest()
    anne.say("/settings")
    await house.until(anne.shown)
    answered = house.telegram.api.calls.count("answerCallbackQuery")
    for data in FOREIGN:
        anne.press(data)
    await house.until(
        lambda: house.telegram.api.calls.count("answerCallbackQuery") == answered + len(FOREIGN)
    )
    assert await anne.hears() == [french(Phrase.SETTINGS)]
    await still_served(house, anne)


async def test_a_button_that_names_a_model_which_there_is_not(house: House) -> None:
    anne = house.guest()
    anne.say("/models")
    await house.until(anne.shown)
    anne.press("model:../../secret")
    assert (await anne.hears(2))[-1] == french(Phrase.NO_SUCH_MODEL, model="../../secret")


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"message": None},
        {"message": {}},
        {"message": {"message_id": 1, "chat": {"id": 1, "type": "private"}, "text": "no sender"}},
        {"message": {"message_id": 1, "from": {"id": 1}, "text": "no chat"}},
        {
            "message": {
                "message_id": 1,
                "from": {"id": 2**80},
                "chat": {"id": 1, "type": "private"},
                "text": "x",
            }
        },
        {"message": {"message_id": [], "from": [], "chat": {"id": {}, "type": {}}, "text": 7}},
        {"callback_query": {"id": "1", "from": {"id": 1}, "data": "forget:yes"}},
        {"edited_message": {"text": "x"}},
        {"channel_post": {"text": "x"}},
        {"poll": {"id": "1"}},
    ],
)
async def test_an_update_without_a_message(house: House, update: dict[str, Any]) -> None:
    numbers: tuple[object, ...] = (5, "5", None, 10**30, 1e300, [], "x")
    for number in numbers:
        body = json.dumps({"update_id": number} | update).encode()
        assert (await house.post(body)).status_code == 200
    assert (await house.post(json.dumps(update).encode())).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"a":' * 50_000,
        b'{"update_id":1,"message":{"text":"\\ud800"}}',
    ],
)
async def test_a_body_that_is_no_update(house: House, body: bytes) -> None:
    assert (await house.post(body)).status_code == 400


FORGED: tuple[dict[str, str], ...] = (
    {"x-other": "x"},
    {SECRET_HEADER: ""},
    {SECRET_HEADER: "guess"},
    {SECRET_HEADER: SECRET[:-1]},
    {SECRET_HEADER: SECRET + "x"},
    {SECRET_HEADER: SECRET.upper()},
    {SECRET_HEADER: "é\xff"},
    {"authorization": f"Bearer {SECRET}"},
)


async def test_forged_calls_are_shut_out_and_leave_nothing(house: House) -> None:
    anne = house.guest()
    user = anne.person.user()
    message = {"message_id": 1, "from": user, "chat": {"id": user["id"], "type": "private"}, "text": "forged"}
    for number, headers in enumerate(FORGED):
        body = json.dumps({"update_id": 9_000_000 + number, "message": message}).encode()
        latin = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        response = await house.http.post(WEBHOOK_PATH, content=body, headers=latin)
        assert response.status_code == 403
        assert SECRET not in response.text
    await still_served(house, anne)
    assert anne.shown() == []


async def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    app = create_web(Door(None, SECRET, Health({}, set())))  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as http:
        for shown in ("", "a", SECRET[:-1]):
            response = await http.post(WEBHOOK_PATH, content=b"{}", headers={SECRET_HEADER: shown})
            assert response.status_code == 403
    assert [one for one, _ in compared] == [b"", b"a", SECRET[:-1].encode()]


async def test_commands_of_others_administrators(house: House) -> None:
    """Whoever runs a group is nobody special here, and other bots' commands are theirs."""
    boss = house.guest("en")
    world = house.telegram.world
    world.add_group(Chat(BUREAU, "supergroup", "Bureau"))
    for text in ("/stats", f"/ban {OPERATOR}", "/unban 5", "/broadcast Buy this"):
        boss.say(text)
        assert await boss.hears() == [phrase(Phrase.ADMINS_ONLY, Language.ENGLISH)]
    world.say(boss.person, BUREAU, text="/stats@another_bot")
    world.say(boss.person, BUREAU, text="/ban@another_bot 5")
    world.say(boss.person, BUREAU, text="/stats")
    house.telegram.delivery.announce()
    await house.until(lambda: world.from_bot(BUREAU))
    (answer,) = (message.versions[-1] for message in world.from_bot(BUREAU))
    assert answer == phrase(Phrase.ADMINS_ONLY, Language.ENGLISH)
    await still_served(house)


async def test_many_at_once_who_mean_no_good(house: House) -> None:
    guests = [house.guest() for _ in range(5)]
    guests[0].give("bomb.docx", samples.zip_bomb())
    guests[1].give("pages.pdf", samples.many_pages(10_000))
    guests[2].say("😀" * 20_000)
    guests[3].give("x.png", samples.LETTER_PNG.read_bytes()[:200], kind="photo")
    guests[4].say("Bonjour")
    heard = await asyncio.gather(*(guest.hears() for guest in guests))
    assert heard == [
        [french(Phrase.FILE_TOO_MUCH)],
        [french(Phrase.FILE_TOO_MUCH)],
        [french(Phrase.TOO_LONG)],
        [french(Phrase.FILE_UNREADABLE)],
        ["Bonjour"],
    ]
