"""What goes out arrives, and every failure is told for what it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.emulators.telegram.refusal import bad_request
from tests.emulators.telegram.world import Chat, Person

from telegram_server import TelegramServer, telegram_server
from telegram_service.dialogue.incoming import Language, Place
from telegram_service.dialogue.phrases import settings_keyboard
from telegram_service.dialogue.settings import UserSettings
from telegram_service.formatting.document import Kind, Style
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import Entity, TelegramMessage, to_messages
from telegram_service.messenger.bot_api import BotApiMessenger
from telegram_service.messenger.port import (
    FormatRefused,
    MessageGone,
    Moved,
    NotSent,
    Outgoing,
    Refused,
    TooSoon,
    Unknown,
    Unreachable,
)

ANNE = Place(42)


@dataclass(frozen=True)
class Line:
    server: TelegramServer
    messenger: BotApiMessenger

    def meddle(self, fate: str) -> None:
        async def meddle(_method: str, _fields: dict[str, Any]) -> str:
            return fate

        self.server.api.meddle = meddle


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with telegram_server() as server, server.bot() as bot:
        server.world.add_person(Person(42, "Anne"))
        yield Line(server, BotApiMessenger(bot))


def outgoing(markdown: str) -> Outgoing:
    (message,) = to_messages(read_markdown(markdown))
    return Outgoing(message)


async def test_a_formatted_message_arrives_as_it_is_meant(line: Line) -> None:
    text = "# Titre\n\n**gras** *it* ~~s~~ `c` [l](https://a.fr)\n\n> q\n\n```python\nx = 1\n```"
    message_id = await line.messenger.send(ANNE, outgoing(text))
    (shown,) = line.server.world.from_bot(42)
    assert shown.id == message_id
    assert {entity["type"] for entity in shown.fields["entities"]} == {kind.value for kind in Kind}
    assert shown.fields["entities"][-1]["language"] == "python"


async def test_keyboards_and_files_and_hints_arrive(line: Line) -> None:
    keyboard = settings_keyboard(UserSettings(), Language.FRENCH)
    await line.messenger.send(ANNE, Outgoing(TelegramMessage("Réglages"), keyboard))
    (shown,) = line.server.world.from_bot(42)
    assert len(shown.fields["reply_markup"]["inline_keyboard"]) == len(keyboard)
    press = line.server.world.press(line.server.world.people[42], 42, shown.id, "length:long")
    await line.messenger.acknowledge(press["callback_query"]["id"], "Oui")
    await line.messenger.acknowledge(press["callback_query"]["id"])
    await line.messenger.typing(ANNE)
    await line.messenger.send_file(ANNE, "export.json", b"{}")
    document = line.server.world.from_bot(42)[-1].fields["document"]
    assert await line.messenger.download(document["file_id"], 100) == b"{}"
    with pytest.raises(Refused):
        await line.messenger.download(document["file_id"], 1)


async def test_an_edit_that_changes_nothing_is_fine_and_one_of_nothing_is_not(line: Line) -> None:
    message_id = await line.messenger.send(ANNE, outgoing("un"))
    await line.messenger.edit(ANNE, message_id, outgoing("deux"))
    await line.messenger.edit(ANNE, message_id, outgoing("deux"))
    with pytest.raises(MessageGone):
        await line.messenger.edit(ANNE, 999, outgoing("x"))
    (shown,) = line.server.world.from_bot(42)
    assert shown.versions == ["un", "deux"]


async def test_topics_are_kept_apart(line: Line) -> None:
    line.server.world.add_group(Chat(-1, "supergroup", "Bureau", topics={7}))
    await line.messenger.send(Place(-1, 7, is_group=True), outgoing("x"))
    (shown,) = line.server.world.from_bot(-1)
    assert shown.fields["message_thread_id"] == 7
    with pytest.raises(Unreachable):
        await line.messenger.send(Place(-1, 8, is_group=True), outgoing("x"))


@pytest.mark.parametrize(
    ("place", "thread"),
    [
        (Place(-1, 7, is_group=True, is_forum=True), "7"),
        (Place(-1, is_group=True, is_forum=True), "1"),
        (ANNE, None),
    ],
)
async def test_typing_is_seen_in_the_topic_that_it_is_for(
    line: Line, place: Place, thread: str | None
) -> None:
    seen: list[object] = []

    async def look(_method: str, fields: dict[str, Any]) -> str:
        seen.append(fields.get("message_thread_id"))
        return ""

    line.server.world.add_group(Chat(-1, "supergroup", "Bureau", topics={7}))
    line.server.api.meddle = look
    await line.messenger.typing(place)
    assert [one if one is None else str(one) for one in seen] == [thread]


async def test_every_refusal_is_told_apart(line: Line) -> None:
    with pytest.raises(Unreachable):
        await line.messenger.send(Place(1), outgoing("x"))
    line.server.world.block(line.server.world.people[42])
    with pytest.raises(Unreachable):
        await line.messenger.send(ANNE, outgoing("x"))
    line.server.world.block(line.server.world.people[42], blocked=False)
    line.server.world.add_group(Chat(-5, "supergroup", "Ancien", moved_to=-1001))
    with pytest.raises(Moved) as moved:
        await line.messenger.send(Place(-5), outgoing("x"))
    assert moved.value.chat_id == -1001
    crossing = TelegramMessage("abc", (Entity(Style(Kind.BOLD), 0, 9),))
    with pytest.raises(FormatRefused):
        await line.messenger.send(ANNE, Outgoing(crossing))
    with pytest.raises(Refused):
        await line.messenger.send(ANNE, Outgoing(TelegramMessage("x" * 5000)))
    with pytest.raises(TooSoon) as too_soon:
        await _send_many(line)
    assert too_soon.value.seconds >= 1


async def _send_many(line: Line) -> None:
    for number in range(20):
        await line.messenger.send(ANNE, outgoing(f"{number}"))


async def test_what_was_sent_and_what_may_have_been_are_told_apart(line: Line) -> None:
    line.meddle("after")
    with pytest.raises(Unknown):
        await line.messenger.send(ANNE, outgoing("un"))
    assert [shown.versions[-1] for shown in line.server.world.from_bot(42)] == ["un"]
    line.meddle("before")
    with pytest.raises(Unknown):
        await line.messenger.send(ANNE, outgoing("deux"))
    assert len(line.server.world.from_bot(42)) == 1


async def test_nobody_there_means_that_nothing_left() -> None:
    async with telegram_server() as server, server.bot() as bot:
        messenger = BotApiMessenger(bot)
        server.world.add_person(Person(42, "Anne"))
        nowhere = TelegramServer("http://127.0.0.1:9", server.world, server.delivery, server.api)
        await messenger.typing(ANNE)
        lost = BotApiMessenger(_unconnected(nowhere))
        with pytest.raises(NotSent):
            await lost.send(ANNE, outgoing("x"))


def _unconnected(server: TelegramServer) -> Any:
    from telegram import Bot
    from telegram.request import HTTPXRequest

    request = HTTPXRequest(httpx_kwargs={"trust_env": False})
    return Bot("7000000:test-token", base_url=f"{server.url}/bot", request=request)


async def test_an_unknown_token_is_no_refusal_of_what_was_sent(line: Line) -> None:
    known, line.server.api.token = line.server.api.token, "revoked"
    with pytest.raises(NotSent):
        await line.messenger.send(ANNE, outgoing("x"))
    line.server.api.token = known
    await line.messenger.send(ANNE, outgoing("x"))
    assert [shown.versions[-1] for shown in line.server.world.from_bot(42)] == ["x"]


@pytest.mark.parametrize(
    "description",
    ["not enough rights to send text messages to the chat", "have no rights to send", "TOPIC_CLOSED"],
)
async def test_where_the_bot_may_not_write_nobody_can_be_reached(line: Line, description: str) -> None:
    async def refuse(_method: str, _fields: dict[str, Any]) -> str:
        raise bad_request(description)

    line.server.api.meddle = refuse
    with pytest.raises(Unreachable):
        await line.messenger.send(ANNE, outgoing("x"))
