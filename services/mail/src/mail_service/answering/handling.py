"""Works on one lane: reads what came in, has it decided upon and answered, and sees the answer out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_service import lanes
from mail_service.answering.answers import Answerer, GivenUp
from mail_service.answering.delivering import Deliverer, Undeliverable
from mail_service.answering.envelopes import CameIn, Envelopes, Forgetting, Notice
from mail_service.answering.judging import Judge, Judgement
from mail_service.answering.notices import Notices
from mail_service.answering.patience import Later, after
from mail_service.answering.refetching import whole
from mail_service.answering.replying import Reply
from mail_service.answering.words_of_decisions import OVER_LIMIT, told
from mail_service.aside import aside
from mail_service.composing.guard import GuardFailed
from mail_service.composing.message import CannotCompose
from mail_service.deciding.decisions import Answer, Bury, Hold, Ignore, Request, Serve
from mail_service.filing import written
from mail_service.letters import Letter
from mail_service.mailbox.port import Mailbox
from mail_service.reading import read
from mail_service.storage.allowances import Allowances
from mail_service.storage.correspondence import Before, Correspondence
from mail_service.storage.names import Names
from mail_service.storage.ways import Step, Ways
from servicekit.journal.attempts import attempt
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Entry, EntryState
from servicekit.logging import get_logger
from servicekit.storage.sealing import Unreadable

MOST_ATTEMPTS = {EntryState.OPEN: 5, EntryState.ANSWERED: 50}
"""A mail that this often ended the process, or failed, is given up, and the operator is told. What strangers
wrote has nothing to do any more with sending an answer that is stored."""
BEHIND_URGENT_SECONDS = 2.0
"""Several times as long as it takes until somebody looks what is due."""
DONE, IGNORED = "answered", "ignored"
TOO_OLD = "ignored: too old"
SEEN_BEFORE = "ignored: the same mail to another of our addresses"

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the work is done with."""

    judge: Judge
    answerer: Answerer
    deliverer: Deliverer
    mailboxes: Mapping[str, Mailbox]
    """By the names of folders."""
    notices: Notices
    envelopes: Envelopes
    correspondence: Correspondence
    allowances: Allowances
    names: Names
    ways: Ways


class Handler:
    """One for all lanes; :meth:`handle` is what a crew's workers do."""

    def __init__(
        self,
        tools: Tools,
        *,
        oldest: timedelta,
        clock: Callable[[], datetime],
        answered: Callable[[timedelta], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``oldest``: what had lain in its folder for longer when it was found is not answered; ``answered``
        is told how long an answer took."""
        self._tools = tools
        self._oldest = oldest
        self._clock = clock
        self._answered = answered
        self._sleep = sleep

    async def handle(self, lane: HeldLane) -> None:
        """Work on what is due in a lane, in order. Raises LaneLost, StorageUnavailable."""
        while (entry := await lane.due()) is not None:
            if not await self._one(lane, entry):
                return

    async def _one(self, lane: HeldLane, entry: Entry) -> bool:
        """Whether the next entry's turn has come."""
        async with attempt(lane, entry, sleep=self._sleep) as attempts:
            return await self._attempt(lane, entry, attempts)

    async def _attempt(self, lane: HeldLane, entry: Entry, attempts: int) -> bool:
        if attempts > MOST_ATTEMPTS[entry.state]:
            return await self._bury(lane, entry, "it was tried too often")
        if entry.state is EntryState.ANSWERED:
            return await self._deliver(lane, entry)
        try:
            incoming = await aside(len(entry.payload), self._tools.envelopes.open_incoming, entry.payload)
        except Unreadable:
            return await self._bury(
                lane, entry, "it cannot be read: SECRET_KEY has changed, or it was damaged"
            )
        later = await self._answer(lane, entry, incoming)
        if isinstance(later, Later):
            return await self._put_off(lane, entry, later)
        if later is not None:
            return later
        return await self._deliver(lane, entry)

    async def _answer(self, lane: HeldLane, entry: Entry, incoming: CameIn | Notice) -> Later | bool | None:
        """None: the whole answer is stored; a bool: the entry is closed, and that is what ``_one``
        returns."""
        try:
            if isinstance(incoming, Notice):
                await self._notify(lane, entry, incoming)
                return None
            if entry.received_at - incoming.arrived_at > self._oldest:
                # Of a mailbox that is full at the first start, most are: they need not be read for that.
                return await self._ignore(lane, entry, TOO_OLD)
            incoming = await self._whole(entry, incoming)
            letter = await aside(len(incoming.raw), read, incoming.raw)
            return await self._consider(lane, entry, incoming, replace(letter, size=incoming.size))
        except (CannotCompose, GuardFailed) as error:
            return await self._bury(lane, entry, str(error))
        except KeyError:
            return await self._bury(lane, entry, "its account is no longer configured")

    async def _whole(self, entry: Entry, came: CameIn) -> CameIn:
        found = await whole(self._tools.mailboxes, came)
        if found is not came:
            letter = await aside(len(found.raw), read, found.raw)
            await self._tools.correspondence.completed(entry.id, came.thread, written(letter))
        return found

    async def _consider(
        self, lane: HeldLane, entry: Entry, came: CameIn, letter: Letter
    ) -> Later | bool | None:
        settled = await self._came_before(lane, entry, letter)
        if settled is not None:
            return settled
        judgement = await self._tools.judge.judge(entry, came, letter)
        outcome = judgement.outcome
        match outcome:
            case Ignore():
                return await self._ignore(lane, entry, told(outcome).replace("ignore", IGNORED, 1))
            case Bury():
                return await self._bury(lane, entry, outcome.reason.value)
            case Hold(until=until):
                if outcome.tell_sender:
                    await self._tools.notices.waits(came, letter)
                return Later(self._wait(until, judgement), told(outcome).replace("hold", "held", 1))
            case Answer() | Serve():
                return await self._reply(lane, entry, came, letter, judgement)
            case _:
                assert_never(outcome)

    async def _came_before(self, lane: HeldLane, entry: Entry, letter: Letter) -> Later | bool | None:
        """What an earlier copy means for a mail; None: nothing."""
        person = self._person(letter)
        before = await self._tools.correspondence.came_before(entry.id, letter.message_id, person)
        if before is Before.ANSWERED:
            return await self._ignore(lane, entry, SEEN_BEFORE)
        if before is Before.PENDING:
            # Nobody knows yet whether that one will be answered.
            return Later(after(self._clock() - entry.received_at), "another copy of it is looked at")
        return None

    async def _reply(
        self, lane: HeldLane, entry: Entry, came: CameIn, letter: Letter, judgement: Judgement
    ) -> Later | bool | None:
        tools, person = self._tools, self._person(letter)
        until = await tools.allowances.ask(entry.id, person, shared=tools.answerer.is_shared(letter))
        if until is not None:
            await tools.notices.waits(came, letter)
            return Later(self._wait(until, judgement), OVER_LIMIT)
        found = await tools.answerer.answer(entry, came, letter, judgement)
        if isinstance(found, Later):
            return found
        if isinstance(found, GivenUp):
            await tools.notices.apologise(entry, came, letter)
            return await self._bury(lane, entry, found.reason)
        await self._store(lane, entry, judgement, person, found)
        return None

    def _wait(self, until: datetime, judgement: Judgement) -> float:
        """Seconds: whoever is not urgent wakes a little after those who are, and finds the place taken."""
        behind = 0.0 if judgement.urgent else BEHIND_URGENT_SECONDS
        return max(1.0, (until - self._clock()).total_seconds()) + behind

    async def _store(
        self, lane: HeldLane, entry: Entry, judgement: Judgement, person: str, reply: Reply
    ) -> None:
        """The answer, and only then what goes out of it."""
        outgoing = list(reply.outgoing)
        outcome = judgement.outcome
        if outcome == Serve(Request.DELETE):
            # Nothing of this is to be kept, and what is forgotten cannot be marked or copied.
            outgoing = [*outgoing[:1], Forgetting(person)]

        async def remember(connection: AsyncConnection) -> None:
            if outcome != Serve(Request.DELETE):
                await self._tools.correspondence.answered(connection, entry.id, reply.written)
            await self._tools.ways.add_within(connection, entry.id, Step.WRITTEN, reply.by)

        contents = [self._tools.envelopes.close_part(one) for one in outgoing]
        await lane.answer(entry, contents, also=remember)

    async def _notify(self, lane: HeldLane, entry: Entry, notice: Notice) -> None:
        reply = self._tools.answerer.replier.notify(entry, notice)

        async def remember(connection: AsyncConnection) -> None:
            if notice.instead_of is not None:
                await self._tools.correspondence.apologised(connection, notice.instead_of, reply.written)

        contents = [self._tools.envelopes.close_part(one) for one in reply.outgoing]
        await lane.answer(entry, contents, also=remember)

    async def _deliver(self, lane: HeldLane, entry: Entry) -> bool:
        try:
            outcome = await self._tools.deliverer.deliver(lane, entry)
        except Unreadable:
            return await self._bury(lane, entry, "its answer cannot be read: SECRET_KEY has changed")
        if isinstance(outcome, Later):
            return await self._put_off(lane, entry, outcome)
        if isinstance(outcome, Undeliverable):
            return await self._bury(lane, entry, outcome.reason)
        if outcome == "forgotten":
            # The lane itself is gone: there is nothing to close.
            return False
        await lane.finish(entry, DONE)
        if not lanes.holds_notices(entry.lane):
            self._answered(self._clock() - entry.received_at)
        return True

    async def _ignore(self, lane: HeldLane, entry: Entry, reason: str) -> bool:
        await lane.finish(entry, reason, also=self._tools.ways.noting(entry.id, Step.IGNORED, reason))
        return True

    async def _bury(self, lane: HeldLane, entry: Entry, reason: str) -> bool:
        _log.warning("mail given up", entry=entry.id, reason=reason)
        await lane.bury(entry, reason, also=self._tools.ways.noting(entry.id, Step.DEAD, reason))
        return True

    async def _put_off(self, lane: HeldLane, entry: Entry, later: Later) -> bool:
        async def note(connection: AsyncConnection) -> None:
            if later.reason != entry.reason:
                await self._tools.ways.add_within(connection, entry.id, Step.PUT_OFF, later.reason)

        until = self._clock() + timedelta(seconds=later.seconds)
        await lane.put_off(entry, until, later.reason, forgive=not later.counts, also=note)
        return False

    def _person(self, letter: Letter) -> str:
        return self._tools.names.person(letter.sender.address if letter.sender is not None else "")
