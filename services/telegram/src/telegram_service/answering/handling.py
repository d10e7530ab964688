"""Works on one lane: reads what came in, has it answered, and sees the answer out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry

from servicekit.ai_core.errors import AiCoreError, Busy, ModelMissing, NotAllowed, Refused, Unreachable
from servicekit.journal.journal import now_in_utc
from servicekit.journal.lane import HeldLane
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import Entry, EntryState
from servicekit.logging import get_logger
from servicekit.storage.sealing import Seal, Unreadable
from telegram_service.allowance import Allowance, unlimited
from telegram_service.answering.asking import (
    Persona,
    Strain,
    Thresholds,
    chat_request,
    strain_of,
    with_less,
)
from telegram_service.answering.delivering import Deliverer, Later
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.files import CannotRead, Files, NotNow
from telegram_service.answering.performing import Asked, Performer
from telegram_service.answering.writing import Writer
from telegram_service.dialogue.actions import AskAboutFile, AskAgain, Deed, Forget, Question
from telegram_service.dialogue.decide import House, Standing, decide, language_for
from telegram_service.dialogue.documents import is_cut, shortened
from telegram_service.dialogue.halves import is_continued
from telegram_service.dialogue.history import Turn
from telegram_service.dialogue.incoming import Incoming, Said, Sent
from telegram_service.dialogue.phrases import Phrase
from telegram_service.dialogue.reading import read_update
from telegram_service.dialogue.refusal import Refusal
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages
from telegram_service.messenger.port import MessengerError, Outgoing
from telegram_service.metrics import Metrics
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.people import People, Person

MOST_ATTEMPTS = 12
"""Whoever ends the process this often is given up, and the operator is told."""
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 60.0
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
    files: Files
    seal: Seal
    """Gives people their pseudonyms."""
    allowance: Allowance = field(default_factory=lambda: unlimited(now_in_utc))
    """Counts what answers cost, and forgets it with those who asked."""
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))


@dataclass(slots=True)
class _Reply:
    """What an entry is answered with."""

    outgoing: list[Outgoing] = field(default_factory=list)
    turn: tuple[int, Turn] | None = None
    """What is remembered, with the entry that it belongs to."""
    joined: list[Entry] = field(default_factory=list)
    """What is answered together with it."""
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
            later = await self._answer(lane, entry, incoming, refusal)
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
        person = await tools.people.meet(incoming.sender.id)
        standing = self._standing(person)
        asked = Asked(person, incoming, language_for(standing, incoming))
        reply = _Reply()
        for action in decide(standing, incoming, self._policy.house, refusal):
            if isinstance(action, Question):
                later = await self._ask(lane, entry, asked, action, reply)
                if later is not None:
                    return later
            else:
                reply.outgoing += await self._perform(action, asked)
                reply.forgotten = reply.forgotten or isinstance(action, Forget)
        if reply.forgotten:
            await tools.allowance.forget(person.id)
            return None
        if reply.turn is not None:
            await tools.conversations.add(lane.name, person.id, *reply.turn)
        contents = [tools.envelopes.close_answer(outgoing) for outgoing in reply.outgoing]
        await lane.answer(entry, contents, joined=reply.joined)
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
        reply: _Reply,
    ) -> Later | None:
        turns = await self._tools.conversations.recent(lane.name, self._policy.persona.most_turns)
        entry_id = entry.id
        if isinstance(action, AskAgain):
            if not turns:
                reply.outgoing += asked.say(Phrase.NOTHING_TO_RETRY)
                return None
            entry_id, question = turns.pop()
        else:
            earlier = next((turn for number, turn in turns if number == entry.id), None)
            turns = [(number, turn) for number, turn in turns if number != entry.id]
            if isinstance(action, AskAboutFile):
                found = earlier or await self._from_file(lane, entry, asked, action.sent, reply)
                if not isinstance(found, Turn):
                    return found
                question = found
            else:
                question = Turn(await self._whole_text(lane, asked, action.question, reply), "")
        before = [turn for _, turn in turns]
        return await self._write(lane, entry, asked, before, (entry_id, question), reply)

    async def _from_file(
        self, lane: HeldLane, entry: Entry, asked: Asked, sent: Sent, reply: _Reply
    ) -> Turn | Later | None:
        """The question that a file is; None: there will be none. It is fetched and read once, then kept."""
        try:
            question = await self._tools.files.question(sent, asked.language)
        except CannotRead as error:
            reply.outgoing += asked.say(error.phrase, **error.values)
            return None
        except NotNow as error:
            if (wait := self._wait(entry, error.seconds)) is not None:
                return Later(wait, error.reason)
            reply.outgoing += asked.say(Phrase.FILE_GONE)
            return None
        await self._tools.conversations.add(lane.name, asked.person.id, entry.id, question)
        return question

    async def _whole_text(self, lane: HeldLane, asked: Asked, text: str, reply: _Reply) -> str:
        """With its second half, where a client divided it."""
        last = asked.incoming.content
        for following in (await lane.pending())[1:]:
            incoming = read_update(self._tools.envelopes.open_update(following.payload), *self._bot)
            if incoming is None or incoming.sender != asked.incoming.sender:
                break
            if not is_continued(last, incoming.content):
                break
            last = incoming.content
            text += last.text if isinstance(last, Said) else ""
            reply.joined.append(following)
        return text

    async def _write(
        self,
        lane: HeldLane,
        entry: Entry,
        asked: Asked,
        before: list[Turn],
        question: tuple[int, Turn],
        reply: _Reply,
    ) -> Later | None:
        strain = strain_of((await self._tools.ledger.backlog()).pending, self._policy.thresholds)
        self._tools.metrics.strained(strain)
        settings, gone = asked.person.settings, ""
        entry_id, turn = question
        persona = self._policy.persona
        while True:
            request = chat_request(
                persona,
                before,
                turn.question,
                document=turn.document,
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
                self._tools.metrics.failed(error)
                if settings.model is None:
                    return self._later(entry, error, asked, question, reply)
                gone, settings = settings.model, replace(settings, model=None)
                continue
            except Refused as error:
                less = with_less(persona, before, turn.document)
                if error.code == "context_length_exceeded" and less is not None:
                    persona, before = less
                    continue
                reply.outgoing += asked.say(Phrase.TOO_LONG)
                return None
            except AiCoreError as error:
                self._tools.metrics.failed(error)
                return self._later(entry, error, asked, question, reply)
            await self._tools.allowance.charge(asked.person.id, entry.key, written.tokens)
            self._tools.metrics.written(written.model, written.tokens)
            said = written.text.strip()
            ending = asked.say(Phrase.CUT_SHORT) if written.stopped else []
            messages = [Outgoing(message) for message in to_messages(read_markdown(said))]
            if is_cut(read := shortened(turn.document, persona.most_document_characters)):
                ending += asked.say(Phrase.DOCUMENT_CUT, characters=len(read))
            if gone:
                ending += asked.say(Phrase.MODEL_GONE, model=gone, default=written.model)
            reply.outgoing += [*messages, *ending] or asked.say(Phrase.EMPTY_ANSWER)
            reply.turn = entry_id, replace(turn, answer=said)
            return None

    def _later(
        self,
        entry: Entry,
        error: AiCoreError,
        asked: Asked,
        question: tuple[int, Turn],
        reply: _Reply,
    ) -> Later | None:
        """Wait and try again, until it has taken too long."""
        asked_for = error.retry_after if isinstance(error, Busy) else None
        wait = None if isinstance(error, NotAllowed) else self._wait(entry, asked_for or 0.0)
        if wait is not None:
            return Later(wait, type(error).__name__)
        self._tools.metrics.failed("no_answer")
        _log.warning("no answer", reason=type(error).__name__, unreachable=isinstance(error, Unreachable))
        entry_id, turn = question
        reply.outgoing += asked.say(Phrase.APOLOGY)
        reply.turn = entry_id, replace(turn, answer="")
        return None

    def _wait(self, entry: Entry, asked_for: float) -> float | None:
        """Seconds until the next try; None: it has taken too long."""
        waited = self._clock() - entry.received_at
        if waited >= self._policy.processing_timeout:
            return None
        return max(asked_for, min(LONGEST_WAIT_SECONDS, max(FIRST_WAIT_SECONDS, waited.total_seconds())))

    async def _deliver(self, lane: HeldLane, entry: Entry, incoming: Incoming) -> bool:
        outcome = await self._tools.deliverer.deliver(lane, entry, incoming.place)
        if isinstance(outcome, Later):
            return await self._put_off(lane, entry, outcome)
        if outcome == "unreachable":
            await self._tools.people.mark(incoming.sender.id, reachable=False)
        await lane.finish(entry, "" if outcome == "delivered" else outcome)
        if not incoming.is_control and outcome == "delivered":
            self._tools.metrics.completed(entry.id, (self._clock() - entry.received_at).total_seconds())
        return True

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
