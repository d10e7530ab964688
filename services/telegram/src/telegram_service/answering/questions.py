"""Has a question answered by the AI core; says what is to be said where that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from servicekit.ai_core.errors import AiCoreError, Busy, ModelMissing, NotAllowed, Refused, Unreachable
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Entry
from servicekit.logging import get_logger
from servicekit.storage.sealing import Unreadable
from telegram_service.answering.asked import Asked
from telegram_service.answering.asking import Persona, Strain, chat_request, strain_of, with_less
from telegram_service.answering.delivering import Later
from telegram_service.answering.files import CannotRead, NotNow
from telegram_service.answering.heeding import Ear, Stopped
from telegram_service.answering.patience import is_long, next_try, time_for_a_try
from telegram_service.answering.tools import Policy, Reply, Tools
from telegram_service.answering.writing import Written
from telegram_service.dialogue.actions import AskAboutFile, AskAgain, Question
from telegram_service.dialogue.documents import is_cut, shortened
from telegram_service.dialogue.halves import is_continued
from telegram_service.dialogue.history import Turn
from telegram_service.dialogue.incoming import Said, Sent
from telegram_service.dialogue.phrases import Phrase
from telegram_service.dialogue.reading import read_update
from telegram_service.dialogue.settings import UserSettings
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages
from telegram_service.messenger.port import Outgoing
from telegram_service.metrics import NO_ANSWER

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Case:
    """A question under way."""

    lane: HeldLane
    entry: Entry
    asked: Asked
    entry_id: int
    """Of the entry that the question belongs to: another one where it is asked again."""
    turn: Turn
    before: list[Turn]
    """The conversation so far."""
    conversation: int
    """Its number: another may begin before this is answered."""


@dataclass(frozen=True, slots=True)
class _Manner:
    """How it is asked; changes when the AI core cannot answer it like that."""

    persona: Persona
    settings: UserSettings
    before: list[Turn]
    gone: str = ""
    """A model that was wanted and is not there."""

    def without_model(self) -> _Manner | None:
        """With the AI core's default; None: that was wanted already."""
        gone = self.settings.model or self.persona.model
        if gone is None:
            return None
        settings, persona = replace(self.settings, model=None), replace(self.persona, model=None)
        return replace(self, settings=settings, persona=persona, gone=gone)


class Questions:
    """One for all lanes. Raises LaneLost, StorageUnavailable."""

    def __init__(
        self, policy: Policy, tools: Tools, *, bot_id: int, bot_name: str, clock: Callable[[], datetime]
    ) -> None:
        self._policy = policy
        self._tools = tools
        self._bot = (bot_id, bot_name)
        self._clock = clock

    async def ask(
        self, lane: HeldLane, entry: Entry, asked: Asked, action: Question, reply: Reply
    ) -> Later | None:
        """Complete the reply; Later, if that cannot be just now."""
        most = self._policy.persona.most_turns
        conversation = await self._tools.conversations.recent(lane.name, most, lane.writing)
        turns = conversation.turns
        entry_id = entry.id
        if isinstance(action, AskAgain):
            # In a group, others have asked since: theirs is not repeated, and what it was about comes later.
            own = [number for number, one in enumerate(turns) if one.person_id == asked.person.id]
            if not own:
                reply.outgoing += asked.say(Phrase.NOTHING_TO_RETRY)
                return None
            entry_id, question, turns = turns[own[-1]].entry_id, turns[own[-1]].turn, turns[: own[-1]]
        else:
            earlier = next((one.turn for one in turns if one.entry_id == entry.id), None)
            turns = [one for one in turns if one.entry_id != entry.id]
            if isinstance(action, AskAboutFile):
                found = earlier or await self._from_file(
                    lane, entry, asked, action.sent, reply, conversation.number
                )
                if not isinstance(found, Turn):
                    return found
                question = found
            else:
                question = Turn(await self._whole_text(lane, asked, action.question, reply), "")
        before = [one.turn for one in turns]
        case = _Case(lane, entry, asked, entry_id, question, before, conversation.number)
        return await self._write(case, reply)

    async def _from_file(
        self, lane: HeldLane, entry: Entry, asked: Asked, sent: Sent, reply: Reply, conversation: int
    ) -> Turn | Later | None:
        """The question that a file is; None: there will be none. It is fetched and read once, then kept."""
        try:
            async with Ear(lane, entry).listening(), self._tools.writer.typing(asked.incoming.place):
                question = await self._tools.files.question(sent, asked.language)
        except Stopped:
            reply.outgoing += asked.say(Phrase.CUT_SHORT)
            return None
        except CannotRead as error:
            reply.outgoing += asked.say(error.phrase, **error.values)
            return None
        except NotNow as error:
            wait = next_try(self._waited(entry), self._most, error.seconds)
            if wait is not None:
                return Later(wait, error.reason)
            reply.outgoing += asked.say(Phrase.FILE_GONE)
            return None
        await self._keep(lane, asked, entry.id, question, conversation)
        return question

    async def _keep(self, lane: HeldLane, asked: Asked, entry_id: int, turn: Turn, conversation: int) -> None:
        """A question that is to be asked again, in the conversation that it belongs to."""
        async with lane.writing() as connection:
            kept = lane.name, asked.person.id, entry_id, turn, conversation
            await self._tools.conversations.store(connection, *kept)

    async def _whole_text(self, lane: HeldLane, asked: Asked, text: str, reply: Reply) -> str:
        """With its second half, where a client divided it."""
        last = asked.incoming.content
        for following in (await lane.pending())[1:]:
            try:
                incoming = read_update(self._tools.envelopes.open_update(following.payload), *self._bot)
            except Unreadable:
                # It is told of when its own turn comes.
                break
            if incoming is None or incoming.sender != asked.incoming.sender:
                break
            if not is_continued(last, incoming.content):
                break
            last = incoming.content
            text += last.text if isinstance(last, Said) else ""
            reply.joined.append(following)
        return text

    async def _write(self, case: _Case, reply: Reply) -> Later | None:
        strain = strain_of(
            await self._tools.ledger.pending(self._policy.thresholds.highest), self._policy.thresholds
        )
        self._tools.metrics.strained(strain)
        manner: _Manner | None = _Manner(self._policy.persona, case.asked.person.settings, case.before)
        failure: AiCoreError | None = None
        while manner is not None:
            try:
                written = await self._try(case, manner, strain)
            except (ModelMissing, Refused) as error:
                failure = error
                self._tools.metrics.failed(error)
                manner = _otherwise(manner, case.turn, error)
            except AiCoreError as error:
                self._tools.metrics.failed(error)
                return await self._later(case, error, reply)
            else:
                await self._answered(case, manner, written, reply)
                return None
        if isinstance(failure, ModelMissing):
            return await self._later(case, failure, reply)
        reply.outgoing += case.asked.say(Phrase.TOO_LONG)
        return None

    async def _try(self, case: _Case, manner: _Manner, strain: Strain) -> Written:
        asked = case.asked
        request = chat_request(
            manner.persona,
            manner.before,
            case.turn.question,
            document=case.turn.document,
            settings=manner.settings,
            language=asked.language,
            user=self._tools.seal.name(b"person", str(asked.person.id).encode()),
            strain=strain,
        )
        return await self._tools.writer.write(
            case.lane,
            case.entry,
            asked.incoming.place,
            request,
            shown=manner.settings.streaming and strain < Strain.NO_EDITS,
            patience=time_for_a_try(self._waited(case.entry), self._most),
        )

    async def _answered(self, case: _Case, manner: _Manner, written: Written, reply: Reply) -> None:
        asked = case.asked
        reply.tokens = written.tokens
        self._tools.metrics.written(written.model, written.tokens)
        said = written.text.strip()
        ending = asked.say(Phrase.CUT_SHORT) if written.stopped else []
        messages = [Outgoing(message) for message in to_messages(read_markdown(said))]
        if is_cut(read := shortened(case.turn.document, manner.persona.most_document_characters)):
            ending += asked.say(Phrase.DOCUMENT_CUT, characters=len(read))
        if manner.gone:
            ending += asked.say(Phrase.MODEL_GONE, model=manner.gone, default=written.model)
        reply.outgoing += [*messages, *ending] or asked.say(Phrase.EMPTY_ANSWER)
        reply.turn = case.entry_id, replace(case.turn, answer=said), case.conversation

    async def _later(self, case: _Case, error: AiCoreError, reply: Reply) -> Later | None:
        """Wait and try again, until it has taken too long."""
        waited, asked = self._waited(case.entry), case.asked
        asked_for = error.retry_after if isinstance(error, Busy) else None
        wait = None if isinstance(error, NotAllowed) else next_try(waited, self._most, asked_for)
        if wait is not None:
            if is_long(waited, wait):
                (note,) = asked.say(Phrase.TAKES_LONGER)
                await self._tools.writer.note(case.lane, case.entry, asked.incoming.place, note)
            # What is ended by /reset before the next try has nothing to do with the conversation after it.
            await self._keep(case.lane, asked, case.entry_id, case.turn, case.conversation)
            return Later(wait, type(error).__name__)
        self._tools.metrics.failed(NO_ANSWER)
        _log.warning("no answer", reason=type(error).__name__, unreachable=isinstance(error, Unreachable))
        reply.outgoing += asked.say(Phrase.APOLOGY)
        reply.turn = case.entry_id, replace(case.turn, answer=""), case.conversation
        return None

    @property
    def _most(self) -> float:
        return self._policy.processing_timeout.total_seconds()

    def _waited(self, entry: Entry) -> float:
        return (self._clock() - entry.received_at).total_seconds()


def _otherwise(manner: _Manner, turn: Turn, error: ModelMissing | Refused) -> _Manner | None:
    """How to ask after a refusal; None: there is no other way."""
    if isinstance(error, ModelMissing):
        return manner.without_model()
    less = with_less(manner.persona, manner.before, turn.document)
    if error.code != "context_length_exceeded" or less is None:
        return None
    persona, before = less
    return replace(manner, persona=persona, before=before)
