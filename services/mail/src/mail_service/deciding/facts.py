"""What a decision is made from, besides the letter: gathered by others, so that decisions stay pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from mail_service.letters import Verdict


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
class Count:
    """What was answered within a moving window."""

    used: int = 0
    free_at: datetime | None = None
    """When the oldest of them leaves the window."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when the decision is made."""

    now: datetime
    """Aware."""
    verdict: Verdict = Verdict.UNKNOWN
    """Of ``verifying``."""
    dns_away: bool = False
    """The verdict could not be had: a name server did not answer."""
    spam: Scan = Scan.OFF
    """Of rspamd or SpamAssassin."""
    virus: Scan = Scan.OFF
    answers_ours: bool = False
    """``In-Reply-To`` or ``References`` names a Message-ID that we gave."""
    is_ours: bool = False
    """Its own Message-ID is one that we gave."""
    alike_before: int = 0
    """Earlier mails of this sender, within a day, with a text like this one (``fingerprints.alike``)."""
    after_answer: timedelta | None = None
    """How long after our last answer in this thread it was sent to us; None: we have not answered there."""
    quick_before: bool = False
    """The sender's mail before this one in this thread also came quickly after an answer of ours."""
    answers_in_thread: int = 0
    """Of ours, within a day."""
    answers_to_sender: Count = field(default_factory=Count)
    """Within an hour."""
    copies_to_sender: Count = field(default_factory=Count)
    """Within an hour, to mails with several recipients or with us in Cc."""
    answers_in_all: Count = field(default_factory=Count)
    """Within an hour, to everybody."""
    mails_of_sender: int = 0
    """That came within an hour, this one not counted."""
    told_today: bool = False
    """The sender was told within a day that mail of theirs waits."""
