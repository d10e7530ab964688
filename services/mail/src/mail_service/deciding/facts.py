"""What a decision is made from, besides the letter: gathered by others, so that decisions stay pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mail_service.letters import Verdict

EVERYBODY = "*"


class Scan(StrEnum):
    """What a scanner says."""

    OFF = "off"
    """None is configured."""
    CLEAN = "clean"
    FOUND = "found"
    """Spam, or a virus."""
    AWAY = "away"
    """It does not answer."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when the decision is made."""

    now: datetime
    """Aware."""
    waited: timedelta = timedelta()
    """Since it was taken in."""
    verdict: Verdict = Verdict.UNKNOWN
    """Of ``verifying``."""
    dns_away: bool = False
    """A name server did not answer: the verdict may be better later."""
    breaks_policy: bool = False
    """The sender's domain wants mail like this refused or put aside (DMARC), as far as we can tell."""
    head_proven: bool = False
    """The subject and ``Reply-To`` are the sender's, too: their domain has signed them, or its server has
    handed the mail over. Without it, a stranger may have sent an old mail of theirs on with others."""
    spam: Scan = Scan.OFF
    """Of rspamd or SpamAssassin."""
    virus: Scan = Scan.OFF
    is_ours: bool = False
    """Its own Message-ID is one that we gave."""
    answers_ours: bool = False
    """``In-Reply-To`` or ``References`` names a Message-ID that we gave."""
    earlier: tuple[str, ...] = ()
    """The ``likeness.essence`` of each mail of this sender that was answered within a day, if only by an
    apology."""
    answers_in_thread: int = 0
    """Of ours, within a day."""
    mails_of_sender: int = 0
    """That came within an hour, this one not counted."""
    free_at: datetime | None = None
    """When an hourly limit lets this one be answered; None: now."""
    told_today: bool = False
    """The sender was told within a day that mail of theirs waits."""
    too_large: bool = False
    """Only its head was fetched, because of its size."""
    unreadable: bool = False
    """Only its head was fetched, because the server never handed out the rest."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The house's rules: what the operator configured.

    Who is named: an address, a domain (``example.org`` or ``@example.org``), all below one
    (``.example.org``), or everybody (``*``); in any case.
    """

    own_addresses: frozenset[str]
    """Of every mailbox that this service answers, in lower case."""
    allowed: frozenset[str] = frozenset({EVERYBODY})
    blocked: frozenset[str] = frozenset()
    urgent: frozenset[str] = frozenset()
    """Senders whose mail goes first."""
    bulk_allowed: frozenset[str] = frozenset()
    """Senders whose notifications and lists are answered all the same."""
    largest: int = 25 * 1024 * 1024
    """Bytes."""
    answers_per_thread: int = 20
    """Within a day."""
    look_again: timedelta = timedelta(minutes=1)
    """For what waits for a scanner or a name server."""
    give_up_after: timedelta = timedelta(hours=48)
    """So long it waits for them."""
    spam_score: float = 3.0
    """From which on the rules of our own call it spam."""
