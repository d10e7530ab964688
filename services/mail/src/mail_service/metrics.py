"""What Prometheus is told: numbers and reasons, never an address or a text."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mail_service.mailbox.port import Mailbox
from mail_service.sending.port import Access, Outlet
from mail_service.storage.ways import Step, Ways
from servicekit.journal.ledger import Ledger
from servicekit.storage.database import StorageUnavailable

_SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 86_400)
RATE_WINDOW = timedelta(hours=1)


class Metrics:
    """Of one process; the gauges are of the database, so of all."""

    def __init__(self, ways: Ways, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._ways = ways
        self._ledger = ledger
        self._clock = clock
        self.registry = CollectorRegistry()
        self._steps = Counter(
            "neo_mail_steps", "What was done with mails.", ["step", "reason"], registry=self.registry
        )
        self._answer_seconds = Histogram(
            "neo_mail_answer_seconds",
            "From a mail's arrival in the service to the end of its answer.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._queue = Gauge("neo_mail_queue_length", "Mails that wait.", registry=self.registry)
        self._age = Gauge(
            "neo_mail_queue_age_seconds",
            "How long the oldest of them has waited; what waits for a limit is counted from its end.",
            registry=self.registry,
        )
        self._outbox = Gauge(
            "neo_mail_outbox_length", "Answers that are still to be sent.", registry=self.registry
        )
        self._outbox_age = Gauge(
            "neo_mail_outbox_age_seconds",
            "How long ago the oldest mail came whose answer is to be sent.",
            registry=self.registry,
        )
        self._dead = Gauge("neo_mail_dead_letters", "Mails that were given up.", registry=self.registry)
        self._unknown = Gauge(
            "neo_mail_unknown_sends",
            "Answers of which nobody knows whether they arrived.",
            registry=self.registry,
        )
        self._repeated = Gauge("neo_mail_repeated_sends", "Answers sent twice.", registry=self.registry)
        self._success = Gauge(
            "neo_mail_success_ratio",
            "Of mails that ended within the hour and were to be answered, those that were.",
            registry=self.registry,
        )
        self._connected = Gauge(
            "neo_mail_mailbox_connected",
            "1 while this process is signed in to a folder and sees what comes; by its name in /health.",
            ["mailbox"],
            registry=self.registry,
        )
        self._smtp = Gauge(
            "neo_mail_smtp_state",
            "1 for how the last sign-in went: ok, unreachable or refused; by the server's name in /health.",
            ["server", "state"],
            registry=self.registry,
        )

    def stepped(self, step: Step, reason: str) -> None:
        """A step was made. Reasons are ours: words of a short list."""
        self._steps.labels(step.value, reason).inc()

    def answered(self, took: timedelta) -> None:
        """An answer went out."""
        self._answer_seconds.observe(max(0.0, took.total_seconds()))

    def watch(self, mailboxes: Mapping[str, Mailbox], outlets: Mapping[str, Outlet]) -> None:
        """Tell of these whether they let us in; by names that say nothing of people."""
        for name, mailbox in mailboxes.items():
            self._connected.labels(name).set_function(partial(_connected, mailbox))
        for name, outlet in outlets.items():
            for state in Access:
                self._smtp.labels(name, state.value).set_function(partial(_is, outlet, state))

    async def render(self) -> bytes:
        """In Prometheus' text format; without the database, the gauges are as they were."""
        with contextlib.suppress(StorageUnavailable):
            await self._look()
        return generate_latest(self.registry)

    async def _look(self) -> None:
        backlog, now = await self._ledger.backlog(), self._clock()
        self._queue.set(backlog.pending)
        self._age.set(_age(now, backlog.oldest))
        self._outbox.set(backlog.unsent_parts)
        self._outbox_age.set(_age(now, backlog.oldest_unsent))
        self._dead.set(backlog.dead)
        self._unknown.set(backlog.unknown_parts)
        self._repeated.set(backlog.repeated_parts)
        counts = await self._ways.of_mails(now - RATE_WINDOW)
        good = counts.get(Step.SENT, 0) + counts.get(Step.DRAFTED, 0)
        bad = counts.get(Step.DEAD, 0) + counts.get(Step.UNKNOWN, 0)
        self._success.set(good / (good + bad) if good + bad else 1.0)


def _connected(mailbox: Mailbox) -> float:
    return float(mailbox.watching)


def _is(outlet: Outlet, state: Access) -> float:
    return float(outlet.access is state)


def _age(now: datetime, moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
