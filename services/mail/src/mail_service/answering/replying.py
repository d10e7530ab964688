"""From what is to be said to what is to be done: the answer's bytes, its copy, the mark on the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mail_service.accounts import Account
from mail_service.answering.envelopes import CameIn, Copying, Marking, Notice, Outgoing, Sending
from mail_service.answering.judging import Judgement
from mail_service.composing.letterhead import Content, Letterhead
from mail_service.composing.message import Composer, Enclosed, Envelope
from mail_service.composing.subjects import reply_subject
from mail_service.composing.words import no_subject, phrase
from mail_service.deciding.decisions import Serve
from mail_service.language import Language
from mail_service.letters import Address, Letter
from mail_service.storage.correspondence import Written
from mail_service.storage.names import Names
from mail_service.threads import own_id, references_for
from servicekit.journal.records import Entry

OURS = "our own words"


@dataclass(frozen=True, slots=True)
class Said:
    """What a mail is answered with."""

    text: str
    """Markdown."""
    language: Language
    subject: str = ""
    """Suggested for a mail that has none."""
    enclosed: Enclosed | None = None
    by: str = OURS
    """The model, if it was one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, ready to go out."""

    outgoing: tuple[Outgoing, ...]
    written: Written
    """As it is kept in the history."""
    by: str
    """The model, or :data:`OURS`."""


def addressee(letter: Letter, judgement: Judgement, ours: frozenset[str]) -> Address | None:
    """Who is answered: the sender, and nobody else; at their Reply-To only where it is proven that it was
    they who wrote it (an answer would go to whomever a forger names), and never with what is kept of them."""
    wanted = letter.reply_to
    is_own_data = isinstance(judgement.outcome, Serve)
    if wanted is not None and judgement.head_proven and not is_own_data and wanted.address not in ours:
        name = wanted.name or (letter.sender.name if letter.sender is not None else "")
        return Address(wanted.address, name)
    return letter.sender


class Replier:
    """Writes for all accounts."""

    def __init__(
        self,
        accounts: Mapping[str, Account],
        composer: Composer,
        letterhead: Letterhead,
        names: Names,
        *,
        brand_name: str,
        drafts: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self._accounts = accounts
        self._composer = composer
        self._letterhead = letterhead
        self._names = names
        self._brand_name = brand_name
        self._drafts = drafts
        self._clock = clock

    def reply(self, entry: Entry, came: CameIn, letter: Letter, recipient: Address, said: Said) -> Reply:
        """The answer to a mail. Raises CannotCompose, GuardFailed, KeyError: of an account that is gone."""
        account = self._accounts[came.account]
        subject = reply_subject(letter.subject, said.subject or no_subject(said.language))
        references = references_for(letter)
        content = Content(
            ai_response=said.text,
            language=said.language,
            subject=subject,
            sender_name=recipient.name,
            sender_address=recipient.address,
            original_subject=letter.subject,
            original_date=letter.date,
            original_text=letter.text,
            response_date=self._clock(),
            thread_id=came.thread,
        )
        envelope = self._envelope(
            entry, account, recipient, subject, in_reply_to=own_id(letter), references=references
        )
        mail = self._composer.compose(envelope, self._letterhead.write(content), said.enclosed)
        sending = Sending(account.address, mail.sender, mail.recipient, mail.content, self._drafts)
        marking = Marking(came.folder, came.uid_validity, came.uid)
        # What a person is still to send is no answer yet.
        rest: tuple[Outgoing, ...] = () if self._drafts else (Copying(account.address), marking)
        return Reply((sending, *rest), self._written(envelope, said.text), said.by)

    def notify(self, entry: Entry, notice: Notice) -> Reply:
        """A word of our own, where no mail is answered. Raises as :meth:`reply`."""
        account, recipient = self._accounts[notice.account], Address(notice.address, notice.name)
        subject = reply_subject(notice.subject, no_subject(notice.language))
        envelope = self._envelope(
            entry,
            account,
            recipient,
            subject,
            in_reply_to=notice.in_reply_to,
            references=notice.references,
        )
        text = phrase(notice.which, notice.language, **notice.values)
        content = Content(
            ai_response=text,
            language=notice.language,
            subject=subject,
            sender_name=notice.name,
            response_date=envelope.date,
        )
        mail = self._composer.compose(envelope, self._letterhead.write(content))
        sending = Sending(account.address, mail.sender, mail.recipient, mail.content, self._drafts)
        return Reply((sending,), self._written(envelope, text), OURS)

    def _written(self, envelope: Envelope, text: str) -> Written:
        return Written(
            envelope.message_id,
            envelope.recipient.address,
            self._brand_name,
            envelope.subject,
            text,
            tuple(envelope.references),
            envelope.date,
        )

    def _envelope(
        self,
        entry: Entry,
        account: Account,
        recipient: Address,
        subject: str,
        *,
        in_reply_to: str | None,
        references: tuple[str, ...],
    ) -> Envelope:
        return Envelope(
            sender=Address(account.address, self._brand_name),
            envelope_sender=account.envelope_sender,
            recipient=recipient,
            subject=subject,
            message_id=self._names.answer(entry.key, account.domain),
            in_reply_to=in_reply_to,
            references=references,
            date=self._clock(),
        )
