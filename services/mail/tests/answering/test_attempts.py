"""A mail is given up for what it does itself, and never for an outage or a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from mail_service.answering.delivering import Deliverer
from mail_service.answering.envelopes import Envelopes, Sending
from mail_service.answering.handling import MOST_ATTEMPTS, Handler, Tools
from mail_service.mailbox.port import Box
from mail_service.sending.port import OutgoingMail
from mail_store import Store
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.records import Entry, EntryState
from servicekit.storage.database import StorageUnavailable
from servicekit.storage.sealing import SecretSeal

US = "neo@example.test"
OFTEN = 2 * MOST_ATTEMPTS[EntryState.OPEN]


@dataclass
class Servers:
    """A mail server that takes everything, and a mailbox that answers once it is let."""

    sent: list[OutgoingMail] = field(default_factory=list)
    drafts: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, mail: OutgoingMail) -> None:
        self.sent.append(mail)

    async def keep(self, box: Box, content: bytes) -> None:
        self.asked.set()
        await self.may_answer.wait()
        self.drafts.append(content)


@dataclass
class Work:
    """A handler over a real journal, and one mail in it."""

    store: Store
    servers: Servers
    handler: Handler
    envelopes: Envelopes

    async def claim(self) -> HeldLane:
        held = await self.store.journal.claim()
        assert held is not None
        return held

    async def answered(self, *, draft: bool = False) -> int:
        """The number of a mail whose answer is stored."""
        number = await self.store.letter("<1@x>")
        held = await self.claim()
        entry = await held.due()
        assert entry is not None
        sending = Sending(US, US, "anne@people.test", b"From: ...", draft)
        await held.answer(entry, [self.envelopes.close_part(sending)])
        await held.release()
        return number

    async def killed(self, times: int) -> None:
        """So many processes began to work on it, and were not heard of again."""
        for _ in range(times):
            held = await self.claim()
            entry = await held.due()
            assert entry is not None
            await held.begin(entry)
            await held.release()

    async def entry(self, number: int) -> Entry:
        found = await self.store.ledger.find(number)
        assert found is not None
        return found


@pytest.fixture
def work(store: Store) -> Work:
    envelopes, servers = Envelopes(SecretSeal(b"a secret of the tests", "mail")), Servers()

    async def nobody(_person: str) -> None:
        raise AssertionError

    outlets, mailboxes = cast(Any, {US: servers}), cast(Any, {US: servers})
    deliverer = Deliverer(outlets, {}, mailboxes, envelopes, store.ways, forget=nobody, clock=store.clock)
    # What is answered already needs none of the rest.
    nothing = cast(Any, None)
    tools = Tools(
        judge=nothing,
        answerer=nothing,
        deliverer=deliverer,
        mailboxes={},
        notices=nothing,
        envelopes=envelopes,
        correspondence=store.letters,
        allowances=store.allowances,
        names=store.names,
        ways=store.ways,
    )

    async def no_pause(_seconds: float) -> None:
        """The clock of these tests stands still."""

    handler = Handler(tools, oldest=timedelta(days=7), clock=store.clock, sleep=no_pause)
    return Work(store, servers, handler, envelopes)


@contextmanager
def away_where(text: str) -> Iterator[None]:
    """The database is away for the first statement in which this stands."""
    waiting = [text]

    def look(*arguments: object) -> None:
        if waiting and waiting[0] in str(arguments[2]):
            waiting.clear()
            raise OperationalError("?", {}, Exception("away"))

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", look)


async def test_an_answer_that_is_stored_outlasts_many_processes(work: Work) -> None:
    number = await work.answered()
    await work.killed(OFTEN)
    await work.handler.handle(await work.claim())
    assert len(work.servers.sent) == 1
    assert (await work.entry(number)).state is EntryState.DONE


async def test_however_often_the_database_is_away_nothing_is_given_up(work: Work) -> None:
    number = await work.answered()
    for _ in range(OFTEN):
        held = await work.claim()
        # Beginning goes well; then nobody can note that the answer is going out.
        with away_where("UPDATE parts"), pytest.raises(StorageUnavailable):
            await work.handler.handle(held)
        await held.release()
    assert (await work.entry(number)).attempts == 0
    await work.handler.handle(await work.claim())
    assert (await work.entry(number)).state is EntryState.DONE


async def test_who_is_stopped_while_working_has_not_tried(work: Work) -> None:
    number = await work.answered(draft=True)
    for _ in range(OFTEN):
        held = await work.claim()
        work.servers.asked.clear()
        working = asyncio.create_task(work.handler.handle(held))
        await work.servers.asked.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        await held.release()
    assert (await work.entry(number)).attempts == 0
    work.servers.may_answer.set()
    await work.handler.handle(await work.claim())
    assert len(work.servers.drafts) == 1


async def test_who_lost_the_lane_has_not_tried(work: Work) -> None:
    number = await work.answered(draft=True)
    lost = await work.claim()
    working = asyncio.create_task(work.handler.handle(lost))
    await work.servers.asked.wait()
    work.store.clock.now += timedelta(hours=1)
    await work.claim()
    work.servers.may_answer.set()
    with pytest.raises(LaneLost):
        await working
    assert (await work.entry(number)).attempts == 0


async def test_a_mail_that_ends_every_process_is_given_up_before_it_is_opened(work: Work) -> None:
    number = await work.store.letter("<1@x>")
    await work.killed(MOST_ATTEMPTS[EntryState.OPEN])
    await work.handler.handle(await work.claim())
    found = await work.entry(number)
    assert found.state is EntryState.DEAD
    assert found.reason == "it was tried too often"
