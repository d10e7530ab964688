"""What Prometheus is told: numbers, kinds and names of models, never a person, a chat or a text.

https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from servicekit.ai_core.errors import AiCoreError
from servicekit.journal.ledger import Ledger
from servicekit.storage.database import StorageUnavailable
from telegram_service.dialogue.incoming import Commanded, Content, Pressed, Said, Sent
from telegram_service.dialogue.refusal import Limit
from telegram_service.storage.people import People

_STORED = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_ANSWERED = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 40, 80, 160, 320, 640)
LOOK_SECONDS = 5.0
"""So long what the database said is told again: scraping often must not become a burden to it."""
_MOST_UNSHOWN = 10_000
_CALLS = (
    "send",
    "send_file",
    "edit",
    "typing",
    "acknowledge",
    "download",
    "get_updates",
    "get_webhook_info",
)
_ALARMING = ("ok", "not_sent", "unknown", "conflict", "too_many_requests")
"""Outcomes of calls that alerts count."""
NO_ANSWER = "no_answer"
"""A question that ended with an apology."""


class Metrics:
    """What this process counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        self._messages = _counter(registry, "messages", "Messages that came in.", "kind")
        self._refused = _counter(registry, "refused_messages", "Messages over a limit.", "limit")
        self._limiter = _counter(
            registry, "limiter_unavailable", "Decisions that this process made alone, because Redis was away."
        )
        self._stored = _histogram(registry, "intake_seconds", "From an update to its being stored.", _STORED)
        self._first = _histogram(
            registry,
            "time_to_first_text_seconds",
            "From a question to the first text in the chat.",
            _ANSWERED,
        )
        self._whole = _histogram(
            registry, "answer_duration_seconds", "From a question to its complete answer.", _ANSWERED
        )
        self._answers = _counter(registry, "answers", "Answers that were written.", "model")
        self._tokens = _counter(registry, "answer_tokens", "Tokens read and written for them.", "model")
        self._errors = _counter(registry, "errors", "What went wrong.", "kind")
        self._calls = _counter(
            registry, "calls", "Calls to Telegram, by what became of them.", "call", "outcome"
        )
        # What is first seen as 1 has not grown for Prometheus.
        self._errors.labels(NO_ANSWER)
        for call in _CALLS:
            for outcome in _ALARMING:
                self._calls.labels(call, outcome)
        self._held_back = _gauge(
            registry, "webhook_pending_updates", "Updates that Telegram could not hand over yet."
        )
        self._refused_at = _gauge(
            registry,
            "webhook_last_error_timestamp_seconds",
            "When Telegram last failed to hand one over; 0: never.",
        )
        self._strain = _gauge(
            registry, "strain", "0: none; 1: answers are short; 2: and shown when complete."
        )
        self._shown: dict[int, None] = {}

    def received(self, content: Content, seconds: float) -> None:
        """A message was stored, which took so long."""
        self._messages.labels(_kind(content)).inc()
        self._stored.observe(seconds)

    def refused(self, limit: Limit) -> None:
        """A message was over a limit."""
        self._refused.labels(limit.value).inc()

    def limiter_failed(self) -> None:
        """Shared limits could not be looked up."""
        self._limiter.inc()

    def shown(self, entry_id: int, seconds: float) -> None:
        """The first text of an answer is in the chat."""
        if entry_id not in self._shown:
            self._first.observe(max(0.0, seconds))
            self._shown[entry_id] = None
            if len(self._shown) > _MOST_UNSHOWN:
                # Those that never came to their end here: another instance has them, or nobody.
                del self._shown[next(iter(self._shown))]

    def completed(self, entry_id: int, seconds: float) -> None:
        """All of an answer is in the chat."""
        self.shown(entry_id, seconds)
        self._shown.pop(entry_id, None)
        self._whole.observe(max(0.0, seconds))

    def written(self, model: str, tokens: int) -> None:
        """The AI core has written an answer."""
        name = model or "default"
        self._answers.labels(name).inc()
        self._tokens.labels(name).inc(tokens)

    def failed(self, kind: AiCoreError | str) -> None:
        """Something went wrong; a kind of ours, from a short list."""
        self._errors.labels(kind if isinstance(kind, str) else _snake(type(kind).__name__)).inc()

    def called(self, call: str, outcome: str) -> None:
        """Telegram was called."""
        self._calls.labels(call, outcome).inc()

    def looked_at_webhook(self, pending: int, last_error: datetime | None) -> None:
        """What Telegram says of its calls to us."""
        self._held_back.set(pending)
        self._refused_at.set(0.0 if last_error is None else last_error.timestamp())

    def strained(self, strain: int) -> None:
        """How much comfort is taken away just now."""
        self._strain.set(strain)


class Page:
    """The metrics page: what this process counts, and what the database knows of all instances together."""

    def __init__(
        self,
        metrics: Metrics,
        ledger: Ledger,
        people: People,
        clock: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        registry = metrics.registry
        self._registry = registry
        self._ledger = ledger
        self._people = people
        self._clock = clock
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._queue = _gauge(registry, "queue_length", "Messages that wait or are being answered.")
        self._age = _gauge(registry, "queue_age_seconds", "How long the oldest of them has waited.")
        self._outbox = _gauge(registry, "outbox_length", "Parts of answers that are still to be sent.")
        self._outbox_age = _gauge(
            registry,
            "outbox_age_seconds",
            "How long ago the oldest question came whose answer is to be sent.",
        )
        self._waiting = _gauge(
            registry, "waiting_messages", "Messages that were put off, by what they wait for.", "reason"
        )
        self._dead = _gauge(registry, "dead_letters", "Messages that were given up, for the operator to see.")
        self._unknown = _gauge(
            registry, "unknown_sends", "Parts of answers of which nobody knows whether they arrived."
        )
        self._repeated = _gauge(registry, "repeated_sends", "Parts of answers that may have been sent twice.")
        self._active = _gauge(registry, "active_users", "People who have written today (UTC).")
        self._up = _gauge(registry, "database_up", "Whether the figures of the database are of now.")

    async def render(self) -> bytes:
        """In Prometheus' text format; while the database is away, its figures are those of before."""
        async with self._looking:
            if self._monotonic() - self._looked_at >= LOOK_SECONDS:
                try:
                    await self._look()
                    self._up.set(1)
                    self._looked_at = self._monotonic()
                except StorageUnavailable:
                    self._up.set(0)
        return generate_latest(self._registry)

    async def _look(self) -> None:
        now = self._clock()
        backlog, waiting = await self._ledger.backlog(), await self._ledger.put_off()
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._active.set(await self._people.active_since(midnight))
        self._queue.set(backlog.pending)
        self._age.set(_age(now, backlog.oldest))
        self._outbox.set(backlog.unsent_parts)
        self._outbox_age.set(_age(now, backlog.oldest_unsent))
        self._dead.set(backlog.dead)
        self._unknown.set(backlog.unknown_parts)
        self._repeated.set(backlog.repeated_parts)
        self._waiting.clear()
        for reason, count in waiting.items():
            self._waiting.labels(_snake(reason)).set(count)


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(f"neo_telegram_{name}", text, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"neo_telegram_{name}", text, labels, registry=registry)


def _histogram(registry: CollectorRegistry, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"neo_telegram_{name}", text, buckets=buckets, registry=registry)


def _age(now: datetime, moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())


def _kind(content: Content) -> str:
    match content:
        case Said():
            return "text"
        case Sent(kind=kind):
            return kind
        case Commanded():
            return "command"
        case Pressed():
            return "button"
        case _:
            return "membership"


def _snake(words: str) -> str:
    """``ModelMissing`` and ``Telegram's limits`` as ``model_missing``, ``telegrams_limits``."""
    spread = "".join(f" {sign}" if sign.isupper() else sign for sign in words)
    return "_".join("".join(sign for sign in spread.lower() if sign.isalnum() or sign == " ").split())
