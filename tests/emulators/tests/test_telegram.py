"""The emulator refuses what Telegram refuses, by its documents."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from tests.emulators.telegram import flood
from tests.emulators.telegram.app import BotApi, create_emulator
from tests.emulators.telegram.delivery import SECRET_HEADER, Delivery
from tests.emulators.telegram.flood import FloodControl
from tests.emulators.telegram.refusal import Refusal
from tests.emulators.telegram.texts import accept_text, units
from tests.emulators.telegram.world import Chat, Person, World

TOKEN = "7000000:test-token"
ANNE = 42
GROUP = -1001
PATIENCE = 60.0


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Phone:
    """The emulator, one person, and the bot's way to call."""

    world: World
    delivery: Delivery
    api: BotApi
    clock: Clock
    http: httpx.AsyncClient
    anne: Person = field(init=False)

    def __post_init__(self) -> None:
        self.anne = self.world.add_person(Person(ANNE, "Anne"))
        self.world.add_group(Chat(GROUP, "supergroup", "Bureau", topics={7}))

    async def call(self, method: str, token: str = TOKEN, **fields: Any) -> dict[str, Any]:
        response = await self.http.post(f"/bot{token}/{method}", json=fields)
        body: dict[str, Any] = response.json()
        assert body["ok"] or body["error_code"] == response.status_code
        return body

    async def refused(self, method: str, **fields: Any) -> str:
        body = await self.call(method, **fields)
        assert not body["ok"], body
        return str(body["description"])

    async def done(self, method: str, **fields: Any) -> Any:
        body = await self.call(method, **fields)
        assert body["ok"], body
        return body["result"]


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    clock = Clock()
    world = World(clock)
    delivery = Delivery(world)
    api = BotApi(world, delivery, TOKEN)
    transport = httpx.ASGITransport(create_emulator(api))
    async with httpx.AsyncClient(transport=transport, base_url="http://telegram") as http:
        yield Phone(world, delivery, api, clock, http)
    await delivery.close()


async def test_only_the_right_token_and_known_methods_are_served(phone: Phone) -> None:
    assert (await phone.call("getMe", token="1:wrong"))["error_code"] == 401
    assert (await phone.call("sendEverything"))["error_code"] == 404
    assert (await phone.done("getMe"))["is_bot"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"chat_id": 1, "text": "x"}, "chat not found"),
        ({"chat_id": ANNE, "text": ""}, "message text is empty"),
        ({"chat_id": ANNE, "text": " \n"}, "message text is empty"),
        ({"chat_id": ANNE, "text": "x" * 4097}, "message is too long"),
        ({"chat_id": ANNE, "text": "𝕏" * 2049}, "message is too long"),
        ({"chat_id": GROUP, "text": "x", "message_thread_id": 8}, "message thread not found"),
        ({"chat_id": GROUP, "text": "x", "message_thread_id": 1}, "message thread not found"),
        ({"chat_id": ANNE, "text": "x", "parse_mode": "HTML"}, "can't parse entities"),
        (
            {"chat_id": ANNE, "text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a"}]]}},
            "text buttons are unallowed",
        ),
        (
            {
                "chat_id": ANNE,
                "text": "x",
                "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "é" * 33}]]},
            },
            "BUTTON_DATA_INVALID",
        ),
    ],
)
async def test_what_cannot_be_sent_is_refused_in_telegrams_words(
    phone: Phone, fields: dict[str, Any], words: str
) -> None:
    assert words in await phone.refused("sendMessage", **fields)
    assert phone.world.from_bot(ANNE) == []


@pytest.mark.parametrize(
    "entity",
    [
        {"type": "bold", "offset": 0, "length": 6},
        {"type": "bold", "offset": -1, "length": 2},
        {"type": "bold", "offset": 0, "length": 0},
        {"type": "shiny", "offset": 0, "length": 1},
        {"type": "bold", "offset": 0, "length": 1},
        {"type": "text_link", "offset": 3, "length": 1, "url": "/local"},
        "bold",
    ],
)
async def test_an_entity_that_does_not_fit_is_refused(phone: Phone, entity: object) -> None:
    # The first character takes two UTF-16 code units.
    assert await phone.refused("sendMessage", chat_id=ANNE, text="𝕏 ab", entities=[entity])


@pytest.mark.parametrize(
    ("outer", "inner", "fine"),
    [
        (("bold", 0, 4), ("italic", 1, 2), True),
        (("bold", 0, 3), ("italic", 2, 3), False),
        (("code", 0, 4), ("bold", 1, 2), False),
        (("bold", 0, 4), ("code", 1, 2), False),
        (("blockquote", 0, 4), ("pre", 1, 2), True),
        (("blockquote", 0, 4), ("blockquote", 1, 2), False),
        (("text_link", 0, 4), ("bold", 1, 2), True),
        (("text_link", 0, 4), ("code", 1, 2), False),
    ],
)
def test_entities_nest_as_documented(
    outer: tuple[str, int, int], inner: tuple[str, int, int], *, fine: bool
) -> None:
    entities = [
        dict(zip(("type", "offset", "length"), one, strict=True)) | {"url": "https://a.fr"}
        for one in (outer, inner)
    ]
    if fine:
        assert len(accept_text("texte", entities)[1]) == 2
    else:
        with pytest.raises(Refusal, match="overlap"):
            accept_text("texte", entities)


@given(st.text(min_size=1))
def test_a_text_of_allowed_length_is_accepted(text: str) -> None:
    if text.strip() and units(text) <= 4096:
        assert accept_text(text, None) == (text.strip(), [])


async def test_edits_change_what_is_shown_and_the_same_again_is_refused(phone: Phone) -> None:
    sent = await phone.done("sendMessage", chat_id=ANNE, text="un")
    where = {"chat_id": ANNE, "message_id": sent["message_id"]}
    await phone.done("editMessageText", **where, text="deux")
    assert "message is not modified" in await phone.refused("editMessageText", **where, text="deux")
    assert "message to edit not found" in await phone.refused(
        "editMessageText", chat_id=ANNE, message_id=999, text="x"
    )
    said = phone.world.say(phone.anne, text="moi")["message"]
    assert "can't be edited" in await phone.refused(
        "editMessageText", chat_id=ANNE, message_id=said["message_id"], text="x"
    )
    phone.clock.now += 49 * 3600
    assert "can't be edited" in await phone.refused("editMessageText", **where, text="trois")
    (shown,) = phone.world.from_bot(ANNE)
    assert shown.versions == ["un", "deux"]


async def test_who_blocked_the_bot_gets_nothing(phone: Phone) -> None:
    phone.world.block(phone.anne)
    assert (await phone.call("sendMessage", chat_id=ANNE, text="x"))["error_code"] == 403


async def test_a_group_that_moved_says_where_to(phone: Phone) -> None:
    phone.world.add_group(Chat(-5, "supergroup", "Ancien", moved_to=GROUP))
    body = await phone.call("sendMessage", chat_id=-5, text="x")
    assert body["parameters"] == {"migrate_to_chat_id": GROUP}


async def test_the_twenty_megabytes_of_getfile(phone: Phone) -> None:
    small = phone.world.files.add("document", "a.txt", b"bonjour")
    path = (await phone.done("getFile", file_id=small.id))["file_path"]
    assert (await phone.http.get(f"/file/bot{TOKEN}/{path}")).content == b"bonjour"
    large = phone.world.files.add("document", "b.bin", bytes(20_000_001))
    assert "file is too big" in await phone.refused("getFile", file_id=large.id)
    assert "wrong file_id" in await phone.refused("getFile", file_id="../../etc/passwd")


async def test_a_file_is_to_be_had_for_an_hour_after_asking_and_by_the_bot_alone(phone: Phone) -> None:
    update = phone.world.give(phone.anne, "../../x.pdf", b"%PDF-", caption="Lisez")
    document = update["message"]["document"]
    assert document["file_name"] == "../../x.pdf"
    path = f"documents/{document['file_id']}.pdf"
    assert (await phone.http.get(f"/file/bot{TOKEN}/{path}")).status_code == 404
    assert (await phone.done("getFile", file_id=document["file_id"]))["file_path"] == path
    assert (await phone.http.get(f"/file/bot1:other/{path}")).status_code == 401
    assert (await phone.http.get(f"/file/bot{TOKEN}/elsewhere/{path}")).status_code == 404
    assert (await phone.http.get(f"/file/bot{TOKEN}/{path}")).content == b"%PDF-"
    phone.clock.now += 3_601
    assert (await phone.http.get(f"/file/bot{TOKEN}/{path}")).status_code == 404


async def test_a_photo_has_sizes_and_a_voice_message_has_no_name(phone: Phone) -> None:
    photo = phone.world.give(phone.anne, "a.jpg", b"abc", kind="photo")["message"]["photo"]
    assert photo[0]["width"] < photo[-1]["width"]
    voice = phone.world.give(phone.anne, "a.oga", b"abc", kind="voice")["message"]["voice"]
    assert "file_name" not in voice


async def test_a_query_is_answered_once_and_in_time(phone: Phone) -> None:
    sent = await phone.done("sendMessage", chat_id=ANNE, text="?")
    press = phone.world.press(phone.anne, ANNE, sent["message_id"], "a")["callback_query"]["id"]
    await phone.done("answerCallbackQuery", callback_query_id=press)
    assert "query is too old" in await phone.refused("answerCallbackQuery", callback_query_id=press)
    late = phone.world.press(phone.anne, ANNE, sent["message_id"], "a")["callback_query"]["id"]
    phone.clock.now += 3600
    assert "query is too old" in await phone.refused("answerCallbackQuery", callback_query_id=late)


def test_one_chat_takes_a_burst_and_then_one_message_per_second() -> None:
    control = FloodControl()
    for _ in range(flood.CHAT_BURST):
        control.admit(ANNE, 0.0)
    with pytest.raises(Refusal) as refused:
        control.admit(ANNE, 0.0)
    wait = refused.value.parameters["retry_after"]
    with pytest.raises(Refusal) as prolonged:
        control.admit(ANNE, wait - 1.0)
    assert prolonged.value.parameters["retry_after"] > 1
    control.admit(ANNE + 1, 0.0)
    control.admit(ANNE, 1_000.0)


def test_a_group_takes_twenty_a_minute_and_all_chats_together_thirty_a_second() -> None:
    control = FloodControl()
    for number in range(20):
        control.admit(GROUP, number * 2.0)
    with pytest.raises(Refusal):
        control.admit(GROUP, 41.0)
    control = FloodControl()
    for chat in range(30):
        control.admit(chat + 1, 0.0)
    with pytest.raises(Refusal):
        control.admit(31, 0.0)


@given(st.lists(st.floats(0, 30), max_size=60))
def test_whoever_keeps_to_one_per_second_is_never_refused(gaps: list[float]) -> None:
    control, now = FloodControl(), 0.0
    for gap in gaps:
        now += 1.0 + gap
        control.admit(ANNE, now)


async def test_updates_are_polled_until_confirmed_and_a_second_poller_ends_the_first(phone: Phone) -> None:
    phone.world.say(phone.anne, text="a")
    (update,) = await phone.done("getUpdates")
    assert await phone.done("getUpdates") == [update]
    assert await phone.done("getUpdates", offset=update["update_id"] + 1) == []
    asked = asyncio.Event()

    async def notice(_method: str, _fields: dict[str, Any]) -> str:
        asked.set()
        return ""

    phone.api.meddle = notice
    first = asyncio.create_task(phone.call("getUpdates", offset=update["update_id"] + 1, timeout=50))
    await asked.wait()
    phone.world.say(phone.anne, text="b")
    second = await phone.done("getUpdates", offset=update["update_id"] + 1)
    assert [one["message"]["text"] for one in second] == ["b"]
    assert (await first)["error_code"] == 409


@dataclass
class Hook:
    """A webhook that gives these statuses, then 200."""

    answers: list[int]
    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: Request) -> Response:
        self.got.append(await request.json())
        self.secrets.add(request.headers.get(SECRET_HEADER, ""))
        if len(self.got) == 5:
            self.enough.set()
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = FastAPI()
        app.add_api_route("/hook", self.take, methods=["POST"], response_model=None)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
            serving = asyncio.create_task(server.serve([listener]))
            yield
            server.should_exit = True
            await serving


async def test_the_webhook_gets_each_chats_updates_in_order_until_it_takes_them(phone: Phone) -> None:
    hook = Hook([500, 503])
    async with hook.listening():
        await phone.done("setWebhook", url=hook.url, secret_token="s3cret_-")
        for text in ("un", "deux", "trois"):
            phone.world.say(phone.anne, text=text)
        phone.delivery.announce()
        async with asyncio.timeout(PATIENCE):
            await hook.enough.wait()
        await phone.done("deleteWebhook")
    assert [update["message"]["text"] for update in hook.got] == ["un", "un", "un", "deux", "trois"]
    assert hook.secrets == {"s3cret_-"}


async def test_a_webhook_shuts_out_polling_and_its_secret_is_checked(phone: Phone) -> None:
    assert "unallowed characters" in await phone.refused("setWebhook", url="http://a", secret_token="é")
    await phone.done("setWebhook", url="http://127.0.0.1:1/hook")
    assert (await phone.call("getUpdates"))["error_code"] == 409


async def test_the_menu_takes_plain_commands_only(phone: Phone) -> None:
    fine = [{"command": "start", "description": "Commencer"}]
    await phone.done("setMyCommands", commands=fine, language_code="fr")
    assert phone.world.commands == {"fr": fine}
    assert "BOT_COMMAND_INVALID" in await phone.refused(
        "setMyCommands", commands=[{"command": "/Start", "description": "x"}]
    )


async def test_edits_count_and_a_penalty_says_how_long_it_lasts(phone: Phone) -> None:
    sent = await phone.done("sendMessage", chat_id=ANNE, text="0")
    where = {"chat_id": ANNE, "message_id": sent["message_id"]}
    for number in range(1, flood.CHAT_BURST):
        await phone.done("editMessageText", **where, text=f"{number}")
    body = await phone.call("editMessageText", **where, text="one too many")
    assert (body["error_code"], body["parameters"]["retry_after"] > 0) == (429, True)
    assert "retry after" in body["description"]
    phone.clock.now += body["parameters"]["retry_after"]
    await phone.done("editMessageText", **where, text="in time")
    assert phone.world.flood.refused == 1


async def test_updates_may_come_twice_and_out_of_order_but_none_is_left_out() -> None:
    world = World(Clock())
    anne = world.add_person(Person(ANNE, "Anne"))
    delivery = Delivery(world, lambda updates: [*reversed(updates), *updates[:1]])
    for text in ("un", "deux"):
        world.say(anne, text=text)
    texts = [update["message"]["text"] for update in await delivery.poll({})]
    assert texts == ["deux", "un", "un"]
    await delivery.close()


async def test_a_call_whose_reply_is_cut_was_carried_out(phone: Phone) -> None:
    fates = ["before", "after", "503"]

    async def meddle(_method: str, _fields: dict[str, Any]) -> str:
        return fates.pop(0)

    phone.api.meddle = meddle
    for _ in range(2):
        with pytest.raises(ConnectionAbortedError):
            await phone.call("sendMessage", chat_id=ANNE, text="x")
    assert (await phone.call("sendMessage", chat_id=ANNE, text="x"))["error_code"] == 503
    assert len(phone.world.from_bot(ANNE)) == 1
