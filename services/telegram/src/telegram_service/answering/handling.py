"""Works on one lane: reads what came in, has it answered, and sees the answer out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from servicekit.ai_core.errors import AiCoreError, Busy, ModelMissing, NotAllowed, Refused, Unreachable
from servicekit.journal.lane import HeldLane
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import Entry, EntryState
from servicekit.logging import get_logger
from servicekit.storage.sealing import Seal, Unreadable
from telegram_service.answering.asking import Persona, Strain, Thresholds, chat_request, strain_of
from telegram_service.answering.delivering import Deliverer, Later
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.performing import Asked, Performer
from telegram_service.answering.writing import Writer
from telegram_service.dialogue.actions import AskAboutFile, AskAgain, Deed, Forget, Question
from telegram_service.dialogue.decide import House, Standing, decide, language_for
from telegram_service.dialogue.history import Turn
from telegram_service.dialogue.incoming import Incoming, Said
from telegram_service.dialogue.phrases import Phrase
from telegram_service.dialogue.reading import read_update
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages, units
from telegram_service.messenger.port import MessengerError, Outgoing
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.people import People, Person

MOST_ATTEMPTS = 12
"""Whoever ends the process this often is given up, and the operator is told."""
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 60.0
SPLIT_UNITS = 4000
"""A text of this length is likely to be the first half of a longer one, which the client divided."""
_NOBODY: frozenset[int] = frozenset()

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who may use the bot, and how it answers."""

    house: House
    persona: Persona
    processing_timeout: timedelta
    """After which somebody is told that there will be no answer."""
    thresholds: Thresholds
    allowed: frozenset[int] = _NOBODY
    """Empty: everybody."""
    admins: frozenset[int] = _NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the work is done with."""

    writer: Writer
    deliverer: Deliverer
    performer: Performer
    envelopes: Envelopes
    people: People
    conversations: Conversations
    ledger: Ledger
    seal: Seal
    """Gives people their pseudonyms."""


@dataclass(slots=True)
class _Reply:
    """What an entry is answered with."""

    outgoing: list[Outgoing] = field(default_factory=list)
    turn: tuple[int, Turn] | None = None
    """What is remembered, with the entry that it belongs to."""
    forgotten: bool = False
    """The lane itself is gone: there is nothing to close."""


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
    ) -> None:
        self._policy = policy
        self._tools = tools
        self._bot = (bot_id, bot_name)
        self._clock = clock

    async def handle(self, lane: HeldLane) -> None:
        """Work on what is due in a lane, in order. Raises LaneLost, StorageUnavailable."""
        while (entry := await lane.due()) is not None:
            if not await self._one(lane, entry):
                return

    async def _one(self, lane: HeldLane, entry: Entry) -> bool:
        """Whether the next entry's turn has come."""
        attempts = await lane.begin(entry)
        try:
            incoming = read_update(self._tools.envelopes.open_update(entry.payload), *self._bot)
        except Unreadable:
            await lane.bury(entry, "it cannot be read: SECRET_KEY has changed, or it was damaged")
            return True
        if incoming is None:
            await lane.finish(entry, "not for us")
            return True
        if attempts > MOST_ATTEMPTS:
            await lane.bury(entry, "it was tried too often")
            return True
        if entry.state is EntryState.OPEN:
            later = await self._answer(lane, entry, incoming, attempts)
            if later is not None:
                return await self._put_off(lane, entry, later)
            if await self._is_forgotten(entry):
                return False
        return await self._deliver(lane, entry, incoming)

    async def _answer(self, lane: HeldLane, entry: Entry, incoming: Incoming, attempts: int) -> Later | None:
        """Have the whole answer stored; Later, if that cannot be just now."""
        tools = self._tools
        person = await tools.people.meet(incoming.sender.id)
        standing = self._standing(person)
        asked = Asked(person, incoming, language_for(standing, incoming))
        reply = _Reply()
        for action in decide(standing, incoming, self._policy.house):
            if isinstance(action, Question):
                later = await self._ask(lane, entry, asked, action, attempts, reply)
                if later is not None:
                    return later
            else:
                reply.outgoing += await self._perform(action, asked)
                reply.forgotten = reply.forgotten or isinstance(action, Forget)
        if reply.forgotten:
            return None
        if reply.turn is not None:
            await tools.conversations.add(lane.name, person.id, *reply.turn)
        await lane.answer(entry, [tools.envelopes.close_answer(outgoing) for outgoing in reply.outgoing])
        return None

    async def _perform(self, deed: Deed, asked: Asked) -> list[Outgoing]:
        try:
            return await self._tools.performer.perform(deed, asked)
        except MessengerError as error:
            # A button's hint, a changed keyboard: nothing that anybody waits for.
            _log.info("not shown", reason=type(error).__name__)
            return []

    async def _ask(
        self,
        lane: HeldLane,
        entry: Entry,
        asked: Asked,
        action: Question,
        attempts: int,
        reply: _Reply,
    ) -> Later | None:
        if isinstance(action, AskAboutFile):
            reply.outgoing += asked.say(Phrase.NO_VOICE if action.sent.kind == "voice" else Phrase.NO_FILES)
            return None
        turns = await self._tools.conversations.recent(lane.name, self._policy.persona.most_turns)
        entry_id = entry.id
        if isinstance(action, AskAgain):
            if not turns:
                reply.outgoing += asked.say(Phrase.NOTHING_TO_RETRY)
                return None
            entry_id, last = turns.pop()
            question = last.question
        else:
            turns = [(number, turn) for number, turn in turns if number != entry.id]
            question = await self._whole_text(lane, entry, asked, action.question)
        before = [turn for _, turn in turns]
        return await self._write(lane, entry, asked, before, (entry_id, question), attempts, reply)

    async def _whole_text(self, lane: HeldLane, entry: Entry, asked: Asked, text: str) -> str:
        """With its second half, where a client divided it."""
        parts = [text]
        for following in (await lane.pending())[1:]:
            if units(parts[-1]) < SPLIT_UNITS:
                break
            incoming = read_update(self._tools.envelopes.open_update(following.payload), *self._bot)
            if (
                incoming is None
                or incoming.sender != asked.incoming.sender
                or not isinstance(incoming.content, Said)
            ):
                break
            parts.append(incoming.content.text)
            await lane.join(following)
        return "".join(parts)

    async def _write(
        self,
        lane: HeldLane,
        entry: Entry,
        asked: Asked,
        before: list[Turn],
        question: tuple[int, str],
        attempts: int,
        reply: _Reply,
    ) -> Later | None:
        strain = strain_of((await self._tools.ledger.backlog()).pending, self._policy.thresholds)
        settings, gone = asked.person.settings, ""
        entry_id, text = question
        while True:
            request = chat_request(
                self._policy.persona,
                before,
                text,
                settings=settings,
                language=asked.language,
                user=self._tools.seal.name(b"person", str(asked.person.id).encode()),
                strain=strain,
            )
            shown = settings.streaming and strain < Strain.NO_EDITS
            try:
                written = await self._tools.writer.write(
                    lane, entry, asked.incoming.place, request, shown=shown
                )
            except ModelMissing as error:
                if settings.model is None:
                    return self._later(entry, error, attempts, asked, question, reply)
                gone, settings = settings.model, replace(settings, model=None)
                continue
            except Refused as error:
                if error.code == "context_length_exceeded" and before:
                    before = before[len(before) // 2 + 1 :]
                    continue
                reply.outgoing += asked.say(Phrase.TOO_LONG)
                return None
            except AiCoreError as error:
                return self._later(entry, error, attempts, asked, question, reply)
            said = written.text.strip()
            ending = asked.say(Phrase.CUT_SHORT) if written.stopped else []
            messages = [Outgoing(message) for message in to_messages(read_markdown(said))]
            if gone:
                ending += asked.say(Phrase.MODEL_GONE, model=gone, default=written.model)
            reply.outgoing += [*messages, *ending] or asked.say(Phrase.EMPTY_ANSWER)
            reply.turn = entry_id, Turn(text, said)
            return None

    def _later(
        self,
        entry: Entry,
        error: AiCoreError,
        attempts: int,
        asked: Asked,
        question: tuple[int, str],
        reply: _Reply,
    ) -> Later | None:
        """Wait and try again, until it has taken too long."""
        waited = self._clock() - entry.received_at
        if waited < self._policy.processing_timeout and not isinstance(error, NotAllowed):
            asked_for = error.retry_after if isinstance(error, Busy) else None
            wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(attempts - 1, 5))
            return Later(max(wait, asked_for or 0.0), type(error).__name__)
        _log.warning("no answer", reason=type(error).__name__, unreachable=isinstance(error, Unreachable))
        entry_id, text = question
        reply.outgoing += asked.say(Phrase.APOLOGY)
        reply.turn = entry_id, Turn(text, "")
        return None

    async def _deliver(self, lane: HeldLane, entry: Entry, incoming: Incoming) -> bool:
        outcome = await self._tools.deliverer.deliver(lane, entry, incoming.place)
        if isinstance(outcome, Later):
            return await self._put_off(lane, entry, outcome)
        if outcome == "unreachable":
            await self._tools.people.mark(incoming.sender.id, reachable=False)
        await lane.finish(entry, "" if outcome == "delivered" else outcome)
        return True

    async def _put_off(self, lane: HeldLane, entry: Entry, later: Later) -> bool:
        await lane.put_off(entry, self._clock() + timedelta(seconds=later.seconds), later.reason)
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
