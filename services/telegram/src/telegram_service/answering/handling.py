"""Works on one lane: reads what came in, has it answered, and sees the answer out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.journal.attempts import attempt
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import UNFINISHED, Entry, EntryState
from servicekit.key_value.failures import StoreUnavailable
from servicekit.logging import get_logger
from servicekit.storage.sealing import Unreadable
from telegram_service.answering.asked import Asked
from telegram_service.answering.delivering import Later, Outcome
from telegram_service.answering.questions import Questions
from telegram_service.answering.tools import Policy, Reply, Tools
from telegram_service.dialogue.actions import Deed, Forget, Question
from telegram_service.dialogue.decide import Standing, decide, language_for
from telegram_service.dialogue.incoming import Incoming
from telegram_service.dialogue.reading import read_update
from telegram_service.dialogue.refusal import Refusal
from telegram_service.messenger.port import MessengerError, Outgoing
from telegram_service.storage.people import Person

MOST_ATTEMPTS = 12
"""Whoever ends the process this often is given up, and the operator is told."""

_log = get_logger(__name__)


class Handler:
    """One for all lanes; :meth:`handle` is what a crew's workers do."""

    def __init__(
        self,
        policy: Policy,
        tools: Tools,
        *,
        bot_id: int,
        bot_name: str,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._policy = policy
        self._tools = tools
        self._bot = (bot_id, bot_name)
        self._clock = clock
        self._sleep = sleep
        self._questions = Questions(policy, tools, bot_id=bot_id, bot_name=bot_name, clock=clock)

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
        try:
            update = self._tools.envelopes.open_update(entry.payload)
            incoming = read_update(update, *self._bot)
        except Unreadable:
            self._tools.metrics.failed("unreadable")
            await lane.bury(entry, "it cannot be read: SECRET_KEY has changed, or it was damaged")
            return True
        if incoming is None:
            await lane.finish(entry, "not for us")
            return True
        if attempts > MOST_ATTEMPTS:
            self._tools.metrics.failed("gave_up")
            await lane.bury(entry, "it was tried too often")
            return True
        if entry.state is EntryState.OPEN:
            refusal = self._tools.envelopes.refusal_in(update)
            try:
                later = await self._answer(lane, entry, incoming, refusal)
            except StoreUnavailable as error:
                # Somebody wants to be forgotten: that is done when it can be done everywhere.
                later = Later(error.retry_after, "Redis is away")
            if later is not None:
                return await self._put_off(lane, entry, later)
            if await self._is_forgotten(entry):
                return False
        return await self._deliver(lane, entry, incoming)

    async def _answer(
        self, lane: HeldLane, entry: Entry, incoming: Incoming, refusal: Refusal | None
    ) -> Later | None:
        """Have the whole answer stored; Later, if that cannot be just now."""
        tools = self._tools
        person = await tools.people.meet(incoming.sender.id, lane.writing)
        standing = self._standing(person)
        asked = Asked(person, incoming, language_for(standing, incoming))
        reply = Reply()
        for action in decide(standing, incoming, self._policy.house, refusal):
            if isinstance(action, Question):
                later = await self._questions.ask(lane, entry, asked, action, reply)
                if later is not None:
                    return later
            else:
                reply.outgoing += await self._perform(action, asked)
                reply.forgotten = reply.forgotten or isinstance(action, Forget)
        if reply.forgotten:
            await tools.performer.personal_data.forget_wish(person.id, entry)
            return None
        contents = [tools.envelopes.close_answer(outgoing) for outgoing in reply.outgoing]
        remember = partial(self._remember, lane.name, person, reply)
        await lane.answer(entry, contents, joined=reply.joined, also=remember)
        if reply.tokens:
            # Not before: whoever was forgotten meanwhile is told by a lost lane, and is counted no more.
            await tools.allowance.charge(person.id, entry.key, reply.tokens)
        return None

    async def _remember(self, lane: str, person: Person, reply: Reply, connection: AsyncConnection) -> None:
        if reply.turn is not None:
            await self._tools.conversations.store(connection, lane, person.id, *reply.turn)

    async def _perform(self, deed: Deed, asked: Asked) -> list[Outgoing]:
        try:
            return await self._tools.performer.perform(deed, asked)
        except MessengerError as error:
            # A button's hint, a changed keyboard: nothing that anybody waits for.
            _log.info("not shown", reason=type(error).__name__)
            return []

    async def _deliver(self, lane: HeldLane, entry: Entry, incoming: Incoming) -> bool:
        outcome = await self._tools.deliverer.deliver(lane, entry, incoming.place)
        if isinstance(outcome, Later):
            return await self._put_off(lane, entry, outcome)
        if outcome != "delivered":
            await self._close_undelivered(lane, entry, incoming, outcome)
            return True
        await lane.finish(entry)
        if not incoming.is_control:
            self._tools.metrics.completed(entry.id, (self._clock() - entry.received_at).total_seconds())
        return True

    async def _close_undelivered(
        self, lane: HeldLane, entry: Entry, incoming: Incoming, outcome: Outcome
    ) -> None:
        unsent = [part for part in await lane.parts(entry) if part.state in UNFINISHED]
        if outcome == "refused":
            self._tools.metrics.failed("answer_refused")
            await lane.bury(entry, "Telegram refuses the answer", dropped=unsent)
            return
        if not incoming.place.is_group:
            await self._tools.people.mark(incoming.sender.id, reachable=False)
        await lane.finish(entry, outcome, dropped=unsent)

    async def _put_off(self, lane: HeldLane, entry: Entry, later: Later) -> bool:
        # Waiting for others is no failure of this message: it may last.
        until = self._clock() + timedelta(seconds=later.seconds)
        await lane.put_off(entry, until, later.reason, forgive=True)
        return False

    async def _is_forgotten(self, entry: Entry) -> bool:
        return await self._tools.ledger.find(entry.id) is None

    def _standing(self, person: Person) -> Standing:
        policy = self._policy
        return Standing(
            settings=person.settings,
            is_allowed=not policy.allowed or person.id in policy.allowed or person.id in policy.admins,
            is_banned=person.banned,
            is_admin=person.id in policy.admins,
        )
