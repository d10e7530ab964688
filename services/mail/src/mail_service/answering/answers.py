"""What a mail is answered with: by a model, in words of our own, or with what the sender asked about
themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mail_service.answering.asking import Persona, Question, request_for
from mail_service.answering.attachments import Files, read_files
from mail_service.answering.envelopes import CameIn
from mail_service.answering.judging import Judgement
from mail_service.answering.patience import Later, after
from mail_service.answering.replying import Replier, Reply, Said, addressee
from mail_service.composing.courtesies import without_courtesies
from mail_service.composing.message import CannotCompose, Enclosed
from mail_service.composing.subjects import one_line
from mail_service.composing.words import Phrase, phrase
from mail_service.deciding.decide import is_shared
from mail_service.deciding.decisions import Answer, Note, Request, Serve
from mail_service.keeping import Keeper
from mail_service.language import Language, language_of
from mail_service.letters import Letter
from mail_service.storage.correspondence import Correspondence
from mail_service.storage.names import Names
from servicekit.ai_core import requests as ai_core_requests
from servicekit.ai_core.client import AiCore
from servicekit.ai_core.errors import AiCoreError, Busy, Failed, Refused
from servicekit.ai_core.requests import EarlierMail
from servicekit.documents.port import Extractor, ExtractorUnavailable
from servicekit.journal.records import Entry

SMALLEST_SHARE = 0.05
"""Of a mail, where the model's context is too small for more."""
_NOTES = {
    Note.EMPTY: Phrase.NOTHING_READ,
    Note.ENCRYPTED: Phrase.ENCRYPTED,
    Note.TOO_LARGE: Phrase.TOO_LARGE,
    Note.INVITATION: Phrase.INVITATION,
    Note.NOT_PROVEN: Phrase.NOT_PROVEN,
}


@dataclass(frozen=True, slots=True)
class GivenUp:
    """There will be no answer."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is read, and how long is waited."""

    most_earlier: int
    """Mails of a thread."""
    most_mail_bytes: int
    most_file_bytes: int
    processing_timeout: float
    """Seconds for one answer of the AI core."""
    give_up_after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What answers are made from."""

    ai_core: AiCore
    extractor: Extractor
    correspondence: Correspondence
    keeper: Keeper
    names: Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How mails are answered."""

    persona: Persona
    limits: Limits
    ours: frozenset[str]
    """All addresses that lead to this service."""


class Answerer:
    """One for all lanes."""

    def __init__(
        self, sources: Sources, replier: Replier, manner: Manner, *, clock: Callable[[], datetime]
    ) -> None:
        self.replier = replier
        self._sources = sources
        self._manner = manner
        self._clock = clock

    def is_shared(self, letter: Letter) -> bool:
        """Whether others got a mail as well."""
        return is_shared(letter, self._manner.ours)

    async def answer(
        self, entry: Entry, came: CameIn, letter: Letter, judgement: Judgement
    ) -> Reply | Later | GivenUp:
        """The answer to a mail, ready to go out. Raises CannotCompose, GuardFailed, KeyError."""
        recipient = addressee(letter, judgement, self._manner.ours)
        if recipient is None:
            raise CannotCompose("nobody sent it")
        if isinstance(judgement.outcome, Serve):
            said: Said | Later | GivenUp = await self._serve(letter, judgement.outcome.request)
        else:
            assert isinstance(judgement.outcome, Answer)
            said = await self._say(entry, came, letter, judgement.outcome.note)
        if not isinstance(said, Said):
            return said
        return self.replier.reply(entry, came, letter, recipient, said)

    async def _say(
        self, entry: Entry, came: CameIn, letter: Letter, note: Note | None
    ) -> Said | Later | GivenUp:
        if note is not None:
            language = language_of(letter.text, letter.subject)
            most = self._manner.limits.most_mail_bytes // 1_000_000
            return Said(phrase(_NOTES[note], language, most=most), language)
        try:
            files = await read_files(
                self._sources.extractor, letter.attachments, most_bytes=self._manner.limits.most_file_bytes
            )
        except ExtractorUnavailable:
            return self._later(entry, "the extractor cannot be started")
        language = language_of(letter.text, letter.subject, *(file.text for file in files.texts))
        not_read = _not_read(files, language)
        if not letter.text.strip() and not files.texts and not letter.quoted.strip():
            return Said("\n\n".join([phrase(Phrase.NOTHING_READ, language), *not_read]), language)
        question = Question(
            sender=letter.sender.name or letter.sender.address if letter.sender is not None else "",
            subject=letter.subject,
            text=letter.text,
            files=files.texts,
            earlier=await self._earlier(entry, came, letter),
            thread=came.thread,
            language=language,
        )
        found = await self._ask(entry, letter, question)
        if not isinstance(found, ai_core_requests.Answer):
            return found
        said = "\n\n".join([without_courtesies(found.response), *not_read])
        return Said(said, language, found.suggested_subject or "", by=found.model)

    async def _ask(
        self, entry: Entry, letter: Letter, question: Question
    ) -> ai_core_requests.Answer | Later | GivenUp:
        user = self._sources.names.person(letter.sender.address if letter.sender is not None else "")
        share = 1.0
        while True:
            request = request_for(self._manner.persona, question, user=user, share=share)
            try:
                async with asyncio.timeout(self._manner.limits.processing_timeout):
                    answer = await self._sources.ai_core.generate(
                        request, patience=self._manner.limits.processing_timeout
                    )
            except TimeoutError:
                return self._later(entry, "the AI core took too long", counts=True)
            except Refused as error:
                if error.code == "context_length_exceeded" and share / 2 > SMALLEST_SHARE:
                    share /= 2
                    continue
                return GivenUp(f"the AI core refuses it ({error.code})")
            except AiCoreError as error:
                asked_for = error.retry_after if isinstance(error, Busy) else None
                reason = f"AI core: {type(error).__name__}"
                return self._later(entry, reason, asked_for, counts=isinstance(error, Failed))
            if not answer.response.strip():
                return self._later(entry, "the model said nothing", counts=True)
            return answer

    async def _earlier(self, entry: Entry, came: CameIn, letter: Letter) -> list[EarlierMail]:
        """The thread so far; what the sender quotes, where we know nothing of it."""
        person = self._sources.names.person(letter.sender.address if letter.sender is not None else "")
        before = await self._sources.correspondence.before(
            entry.id, came.thread, person, self._manner.limits.most_earlier
        )
        if not before:
            return [EarlierMail(letter.quoted, "")] if letter.quoted.strip() else []
        return [EarlierMail(one.written.text, one.written.name or one.written.address) for one in before]

    async def _serve(self, letter: Letter, request: Request) -> Said:
        language = language_of(letter.subject)
        if request is Request.DELETE:
            return Said(phrase(Phrase.FORGOTTEN, language), language)
        address = letter.sender.address if letter.sender is not None else ""
        document = await self._sources.keeper.export(address)
        return Said(
            phrase(Phrase.EXPORTED, language), language, enclosed=Enclosed("neo-export.json", document)
        )

    def _later(
        self, entry: Entry, reason: str, asked_for: float | None = None, *, counts: bool = False
    ) -> Later | GivenUp:
        age = self._clock() - entry.received_at
        if age > self._manner.limits.give_up_after or (counts and entry.attempts + 1 >= MOST_TRIES):
            return GivenUp(reason)
        return Later(after(age, asked_for), reason, counts)


MOST_TRIES = 4
"""Of what failed by itself, not because something was away."""


def _not_read(files: Files, language: Language) -> list[str]:
    if not files.not_read:
        return []
    # In code, nothing of a name means anything to Markdown.
    names = ", ".join(f"`{one_line(name, 80).replace('`', '')}`" for name in files.not_read)
    return [phrase(Phrase.NOT_READ, language, files=names)]
