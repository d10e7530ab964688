"""What can become of a letter, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


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
    NOT_PROVEN = "not_proven"
    """It asks about the sender's data, and nobody vouches for its being from them."""


class Request(StrEnum):
    """What a sender may ask about their own data."""

    EXPORT = "export"
    DELETE = "delete"


class Reason(StrEnum):
    """Why a letter is not answered, or not yet."""

    NO_MAIL = "no_mail"
    """Bytes that are no mail."""
    UNREADABLE = "unreadable"
    """The server never handed it out."""
    NO_SENDER = "no_sender"
    SEVERAL_AUTHORS = "several_authors"
    BLOCKED = "blocked"
    OWN_ADDRESS = "own_address"
    OWN_MESSAGE = "own_message"
    AUTO_SUBMITTED = "auto_submitted"
    RETURN_PATH = "return_path"
    """Empty, or a mail system's."""
    MAIL_SYSTEM = "mail_system"
    """From a mail server or a list server."""
    REPORT = "report"
    SUPPRESSED = "suppressed"
    """The sender wants no automatic answers (X-Auto-Response-Suppress)."""
    AUTO_REPLY = "auto_reply"
    SAME_TEXT = "same_text"
    THREAD_LIMIT = "thread_limit"
    MAILING_LIST = "mailing_list"
    BULK = "bulk"
    NO_REPLY = "no_reply"
    """From an address that takes no mail."""
    NOT_ALLOWED = "not_allowed"
    NOT_AUTHENTICATED = "not_authenticated"
    """From an address that a rule names, but nobody vouches for its being from there."""
    FORGED = "forged"
    INFECTED = "infected"
    SPAM = "spam"
    VIRUS_SCANNER_AWAY = "virus_scanner_away"
    SPAM_SCANNER_AWAY = "spam_scanner_away"
    DNS_AWAY = "dns_away"
    HOURLY_LIMIT = "hourly_limit"


@dataclass(frozen=True, slots=True)
class Answer:
    """It is answered, to its sender alone."""

    note: Note | None = None
    """With this, instead of what a model says."""


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
    """The sender is to be told now that it waits; never twice a day."""


@dataclass(frozen=True, slots=True)
class Bury:
    """Nothing can be done with it: a dead letter, which the operator sees."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Serve:
    """The sender, who is authenticated, asked about their own data."""

    request: Request


Outcome = Answer | Ignore | Hold | Bury | Serve


class Step(NamedTuple):
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
