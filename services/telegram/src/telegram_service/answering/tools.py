"""What the work on lanes goes by, and what it is done with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from prometheus_client import CollectorRegistry

from servicekit.journal.journal import now_in_utc
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import Entry
from servicekit.storage.sealing import Seal
from telegram_service.allowance import Allowance, unlimited
from telegram_service.answering.asking import Persona, Thresholds
from telegram_service.answering.delivering import Deliverer
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.files import Files
from telegram_service.answering.performing import Performer
from telegram_service.answering.writing import Writer
from telegram_service.dialogue.decide import House
from telegram_service.dialogue.history import Turn
from telegram_service.messenger.port import Outgoing
from telegram_service.metrics import Metrics
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.people import People

_NOBODY: frozenset[int] = frozenset()


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
class Reply:
    """What an entry is answered with."""

    outgoing: list[Outgoing] = field(default_factory=list)
    turn: tuple[int, Turn, int] | None = None
    """What is remembered, with the entry and the conversation that it belongs to."""
    tokens: int = 0
    """What it has cost."""
    joined: list[Entry] = field(default_factory=list)
    """What is answered together with it."""
    forgotten: bool = False
    """The lane itself is gone: there is nothing to close."""
