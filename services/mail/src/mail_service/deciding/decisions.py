"""What can become of a letter, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Note(StrEnum):
    """An answer in words of our own, for which no model is asked."""

    EMPTY = "empty"
    """There is nothing to read in it: please write your question."""
    ENCRYPTED = "encrypted"
    """We cannot read what is encrypted: please write in the clear."""
    TOO_LARGE = "too_large"
    """Larger than what is taken: please send less."""
    INVITATION = "invitation"
    """Only an invitation, to which an assistant cannot come."""


class Request(StrEnum):
    """What a sender may ask about their own data."""

    EXPORT = "export"
    DELETE = "delete"


class Reason(StrEnum):
    """Why a letter is not answered, or not yet."""

    NO_MAIL = "no_mail"
    NO_SENDER = "no_sender"
    SEVERAL_AUTHORS = "several_authors"
    OWN_ADDRESS = "own_address"
    OWN_MESSAGE = "own_message"
    AUTO_SUBMITTED = "auto_submitted"
    EMPTY_RETURN_PATH = "empty_return_path"
    MAIL_SYSTEM = "mail_system"
    REPORT = "report"
    SUPPRESSED = "suppressed"
    AUTO_REPLY = "auto_reply"
    MAILING_LIST = "mailing_list"
    BULK = "bulk"
    SAME_TEXT = "same_text"
    TOO_QUICK = "too_quick"
    THREAD_LIMIT = "thread_limit"
    BLOCKED = "blocked"
    NOT_ALLOWED = "not_allowed"
    NOT_AUTHENTICATED = "not_authenticated"
    FORGED = "forged"
    SPAM = "spam"
    INFECTED = "infected"
    SPAM_SCANNER_AWAY = "spam_scanner_away"
    VIRUS_SCANNER_AWAY = "virus_scanner_away"
    DNS_AWAY = "dns_away"
    SENDER_LIMIT = "sender_limit"
    COPY_LIMIT = "copy_limit"
    TOTAL_LIMIT = "total_limit"


@dataclass(frozen=True, slots=True)
class Answer:
    """It is answered, to its sender alone."""

    note: Note | None = None
    """With this instead of what a model says."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """It is kept and never answered."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Hold:
    """It waits, and is decided upon again at ``until`` with the facts of then."""

    reason: Reason
    until: datetime
    tell_sender: bool = False
    """The sender is to be told now that it waits (at most once a day)."""


@dataclass(frozen=True, slots=True)
class Bury:
    """Nothing can be done with it: a dead letter, which the operator sees."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Serve:
    """The sender, who is authenticated, asked about their own data."""

    request: Request


Outcome = Answer | Ignore | Hold | Bury | Serve


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was asked."""

    rule: str
    found: str
    """What it said: ``passed``, or what it found; no text and no address of the mail's."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a letter."""

    outcome: Outcome
    steps: tuple[Step, ...]
    """In the order in which they were asked; the last one settled it."""
    urgent: bool = False
    """It goes before others."""
