"""What is stored is sent: once, in order, and whatever Telegram says about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from telegram import Bot
from tests.emulators.telegram.refusal import bad_request
from tests.emulators.telegram.world import Chat, Person

from journal_office import LEASE, Office
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.records import Entry, PartState
from servicekit.storage.database import Database, database_url
from servicekit.storage.sealing import SecretSeal
from telegram_server import TelegramServer, telegram_server
from telegram_service.answering.delivering import Deliverer, Later
from telegram_service.answering.envelopes import Envelopes
from telegram_service.dialogue.incoming import Place
from telegram_service.formatting.document import Kind, Style
from telegram_service.formatting.messages import Entity, TelegramMessage
from telegram_service.messenger.bot_api import BotApiMessenger
from telegram_service.messenger.pacing import Pacer
from telegram_service.messenger.port import Outgoing

ANNE = Place(42)
ENVELOPES = Envelopes(SecretSeal(b"secret of the tests", "telegram"))


@dataclass
class Post:
    """A journal, a deliverer and Telegram."""

    office: Office
    server: TelegramServer
    bot: Bot
    deliverer: Deliverer
    waits: list[float]
    fates: list[str] = field(default_factory=list)
    """Of the next calls that send or edit."""

    async def meddle(self, method: str, _fields: dict[str, Any]) -> str:
        return self.fates.pop(0) if self.fates and "Message" in method else ""

    async def answered(self, *texts: str, key: str = "m1") -> tuple[HeldLane, Entry]:
        held, entry = await self.office.claimed(key)
        await held.answer(entry, [content(text) for text in texts])
        return held, entry

    def shown(self, chat_id: int = 42) -> list[str]:
        return [message.versions[-1] for message in self.server.world.from_bot(chat_id)]


def content(text: str) -> bytes:
    return ENVELOPES.close_answer(Outgoing(TelegramMessage(text)))


@pytest.fixture
async def post(office: Office) -> AsyncIterator[Post]:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    async with telegram_server() as server, server.bot() as bot:
        server.world.add_person(Person(42, "Anne"))
        deliverer = Deliverer(BotApiMessenger(bot), ENVELOPES, Pacer(), sleep=wait)
        made = Post(office, server, bot, deliverer, waits)
        server.api.meddle = made.meddle
        yield made


async def states(held: HeldLane, entry: Entry) -> list[tuple[PartState, int]]:
    return [(part.state, part.repeats) for part in await held.parts(entry)]


async def test_all_parts_go_out_in_order_and_none_twice(post: Post) -> None:
    held, entry = await post.answered("un", "deux", "trois")
    assert await post.deliverer.deliver(held, entry, ANNE) == "delivered"
    assert await post.deliverer.deliver(held, entry, ANNE) == "delivered"
    assert post.shown() == ["un", "deux", "trois"]
    await held.finish(entry)


async def test_a_message_under_way_gets_its_final_text(post: Post) -> None:
    held, entry = await post.office.claimed()
    sent = post.server.world.send({"chat_id": 42, "text": "Bon"})
    part = await held.sending(await held.open_part(entry))
    await held.streaming(part, str(sent["message_id"]))
    await held.answer(entry, [content("Bonjour"), content("à tous")])
    assert await post.deliverer.deliver(held, entry, ANNE) == "delivered"
    assert post.shown() == ["Bonjour", "à tous"]


async def test_one_that_was_deleted_meanwhile_is_sent_anew(post: Post) -> None:
    held, entry = await post.office.claimed()
    await held.streaming(await held.sending(await held.open_part(entry)), "999")
    await held.answer(entry, [content("Bonjour")])
    assert await post.deliverer.deliver(held, entry, ANNE) == "delivered"
    assert post.shown() == ["Bonjour"]


@pytest.mark.parametrize(("fate", "shown"), [("after", ["un", "deux"]), ("before", ["deux"])])
async def test_a_lost_answer_of_telegram_is_unknown_and_not_repeated(
    post: Post, fate: str, shown: list[str]
) -> None:
    post.fates = [fate]
    held, entry = await post.answered("un", "deux")
    assert await post.deliverer.deliver(held, entry, ANNE) == "delivered"
    assert post.shown() == shown
    assert await states(held, entry) == [(PartState.UNKNOWN, 0), (PartState.SENT, 0)]
    await held.finish(entry)


async def test_an_edit_whose_answer_was_lost_is_simply_made_again(post: Post) -> None:
    held, entry = await post.office.claimed()
    sent = post.server.world.send({"chat_id": 42, "text": "Bon"})
    await held.streaming(await held.sending(await held.open_part(entry)), str(sent["message_id"]))
    await held.answer(entry, [content("Bonjour")])
    post.fates = ["after"]
    assert isinstance(await post.deliverer.deliver(held, entry, ANNE), Later)
    assert await post.deliverer.deliver(held, entry, ANNE) == "delivered"
    (message,) = post.server.world.from_bot(42)
    assert message.versions == ["Bon", "Bonjour"]


async def test_who_died_while_sending_is_followed_by_one_who_sends_anew_and_counts_it(post: Post) -> None:
    held, entry = await post.answered("un")
    (part,) = await held.parts(entry)
    await held.sending(part)
    post.office.clock.turn(LEASE)
    successor = await post.office.journal("two").claim()
    assert successor is not None
    assert await post.deliverer.deliver(successor, entry, ANNE) == "delivered"
    assert await states(successor, entry) == [(PartState.SENT, 1)]
    assert post.shown() == ["un"]


async def test_who_lost_the_lane_sends_nothing(post: Post) -> None:
    held, entry = await post.answered("un")
    post.office.clock.turn(LEASE)
    assert await post.office.journal("two").claim() is not None
    with pytest.raises(LaneLost):
        await post.deliverer.deliver(held, entry, ANNE)
    assert post.shown() == []


async def test_when_telegram_wants_silence_the_lane_is_put_off_and_nothing_is_lost(post: Post) -> None:
    for _ in range(5):
        post.server.world.flood.admit(42, post.server.world.clock())
    held, entry = await post.answered("un")
    later = await post.deliverer.deliver(held, entry, ANNE)
    assert isinstance(later, Later)
    assert later.seconds >= 1
    assert await states(held, entry) == [(PartState.OPEN, 0)]
    assert not await post.deliverer.may_edit(42)


async def test_limits_are_kept_by_waiting_for_ones_turn(post: Post) -> None:
    held, entry = await post.answered(*(f"{number}" for number in range(4)))
    await post.deliverer.deliver(held, entry, ANNE)
    assert len(post.waits) >= 2
    assert all(0 < wait <= 3.3 for wait in post.waits)


async def test_formatting_that_is_refused_goes_out_as_plain_text(post: Post) -> None:
    held, entry = await post.office.claimed()
    crossing = TelegramMessage("texte", (Entity(Style(Kind.BOLD), 0, 99),))
    await held.answer(entry, [ENVELOPES.close_answer(Outgoing(crossing))])
    assert await post.deliverer.deliver(held, entry, ANNE) == "delivered"
    assert post.shown() == ["texte"]


async def test_who_blocked_the_bot_gets_nothing_more_and_nothing_waits(post: Post) -> None:
    post.server.world.block(post.server.world.people[42])
    held, entry = await post.answered("un", "deux")
    assert await post.deliverer.deliver(held, entry, ANNE) == "unreachable"
    await held.finish(entry, "unreachable", dropped=await held.parts(entry))
    assert post.shown() == []
    assert (await post.office.ledger.backlog()).unsent_parts == 0


async def test_a_refusal_is_heard_again_by_who_comes_after_a_crash(post: Post) -> None:
    async def refuse(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendMessage":
            raise bad_request("something that nobody knows")
        return ""

    post.server.api.meddle = refuse
    held, entry = await post.answered("un", "deux")
    for _ in range(2):
        assert await post.deliverer.deliver(held, entry, ANNE) == "refused"
    assert await states(held, entry) == [(PartState.OPEN, 0), (PartState.OPEN, 0)]


async def test_a_group_that_moved_is_followed(post: Post) -> None:
    post.server.world.add_group(Chat(-1001, "supergroup", "Bureau"))
    post.server.world.add_group(Chat(-5, "supergroup", "Bureau", moved_to=-1001))
    held, entry = await post.answered("un", "deux")
    assert await post.deliverer.deliver(held, entry, Place(-5, is_group=True)) == "delivered"
    assert post.shown(-1001) == ["un", "deux"]
    assert await states(held, entry) == [(PartState.SENT, 0), (PartState.SENT, 0)]


async def test_a_database_that_goes_away_during_a_send_makes_nobody_read_the_answer_twice(
    post: Post, address: str
) -> None:
    held, entry = await post.answered("un")
    away = asyncio.Event()

    async def go_away(_seconds: float) -> None:
        # Once it was tried to note what went out: the database is back.
        away.set()

    impatient = Database(database_url(address), command_seconds=0.1)
    locker = Database(database_url(address))
    lane = HeldLane(impatient, post.office.tables, held.claim, timedelta(seconds=LEASE), post.office.clock)
    deliverer = Deliverer(BotApiMessenger(post.bot), ENVELOPES, Pacer(), sleep=go_away)

    async def meddle(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendMessage":
            locking.append(asyncio.create_task(lock()))
            await locked.wait()
        return ""

    locked, locking = asyncio.Event(), list[asyncio.Task[None]]()

    async def lock() -> None:
        async with locker.writing() as connection:
            await connection.execute(update(post.office.tables.lanes).values(control=""))
            locked.set()
            await away.wait()

    post.server.api.meddle = meddle
    assert await deliverer.deliver(lane, entry, ANNE) == "delivered"
    await locking[0]
    assert post.shown() == ["un"]
    assert await states(held, entry) == [(PartState.SENT, 0)]
    await impatient.close()
    await locker.close()


async def test_one_that_is_out_is_not_sent_by_the_lanes_next_holder_either(post: Post) -> None:
    held, entry = await post.answered("un")

    async def lose_the_lane(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendMessage":
            post.office.clock.turn(LEASE)
            taken.append(await post.office.journal("two").claim())
        return ""

    taken: list[HeldLane | None] = []
    post.server.api.meddle = lose_the_lane
    with pytest.raises(LaneLost):
        await post.deliverer.deliver(held, entry, ANNE)
    (successor,) = taken
    assert successor is not None
    assert await post.deliverer.deliver(successor, entry, ANNE) == "delivered"
    assert post.shown() == ["un"]
    assert await states(successor, entry) == [(PartState.SENT, 0)]


async def test_who_is_told_to_stop_hears_what_became_of_a_send_first(post: Post) -> None:
    held, entry = await post.answered("un")

    async def stop(method: str, _fields: dict[str, Any]) -> str:
        if method == "sendMessage":
            delivering.cancel()
        return ""

    post.server.api.meddle = stop
    delivering = asyncio.create_task(post.deliverer.deliver(held, entry, ANNE))
    await asyncio.wait({delivering})
    assert delivering.cancelled()
    assert await states(held, entry) == [(PartState.SENT, 0)]
    assert post.shown() == ["un"]
