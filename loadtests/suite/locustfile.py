"""Everybody at once, as the plan says: API clients, people on Telegram, and who writes mails."""

from __future__ import annotations

import http.client
import itertools
import json
import smtplib
import time
from pathlib import Path
from queue import LifoQueue
from threading import BoundedSemaphore
from typing import Any

from locust import User, constant, events, task
from locust.exception import StopUser

from loadtests.ai_core.asking import connection_to
from loadtests.ai_core.users import Crowd, Reader, Single, Standard, Talker, question
from loadtests.mail import letters
from loadtests.plan import FIRST_PERSON, PLAN

__all__ = ["Correspondent", "Crowd", "Person", "Reader", "Single", "Standard", "Talker"]
TELEGRAMS_CONNECTIONS = 40
"""So many it opens to a webhook (setWebhook's max_connections)."""
FIRST_UPDATE = 1_000_000
RETRY_SECONDS = 1.0
# Locust has patched queues and semaphores: they wait as greenlets do.
_telegram: LifoQueue[http.client.HTTPConnection] = LifoQueue()
for _ in range(TELEGRAMS_CONNECTIONS if PLAN.people else 0):
    _telegram.put(connection_to(PLAN.url))
_doors = BoundedSemaphore(50)
_people, _writers = itertools.count(), itertools.count()
_said: dict[str, float] = {}
_sent: dict[str, float] = {}


class Person(User):
    """Somebody who asks one question on Telegram."""

    fixed_count = PLAN.people
    abstract = not PLAN.people
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        """At a moment of their own."""
        number = next(_people)
        time.sleep(PLAN.within * number / PLAN.people)
        person = {"id": FIRST_PERSON + number, "first_name": "P", "language_code": "fr"}
        message = {
            "message_id": number + 1,
            "from": person | {"is_bot": False},
            "chat": {"id": person["id"], "type": "private", "first_name": "P"},
            "date": int(time.time()),
            "text": question(),
        }
        update = json.dumps({"update_id": FIRST_UPDATE + number, "message": message})
        _said[str(person["id"])] = time.time()
        # Telegram comes again with what was not taken.
        while not self._taken(update):
            time.sleep(RETRY_SECONDS)
        raise StopUser

    def _taken(self, update: str) -> bool:
        connection = _telegram.get()
        headers = {PLAN.webhook_header: PLAN.webhook_secret, "Content-Type": "application/json"}
        began, failure = time.perf_counter(), None
        try:
            connection.request("POST", PLAN.webhook_path, update, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failure = ValueError(f"status {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            failure = error  # type: ignore[assignment]
        finally:
            _telegram.put(connection)
        _tell(self, "Telegram", "update stored", time.perf_counter() - began, failure)
        return failure is None


class Correspondent(User):
    """Somebody who writes one mail."""

    fixed_count = PLAN.letters
    abstract = not PLAN.letters
    wait_time = constant(0)

    @task
    def write(self) -> None:
        """At a moment of their own."""
        number = next(_writers)
        time.sleep(PLAN.within * number / PLAN.letters)
        thread = letters.thread(f"q{number}", 1)
        content = letters.question(thread, 0, PLAN.mailbox).as_bytes()
        began, failure = time.perf_counter(), None
        try:
            with _doors, smtplib.SMTP(PLAN.smtp_host, PLAN.smtp_port, timeout=120) as smtp:
                began = time.perf_counter()
                smtp.sendmail(thread.sender, [PLAN.mailbox], content)
            _sent[thread.message_ids[0]] = time.time()
        except (OSError, smtplib.SMTPException) as error:
            failure = error
        _tell(self, "SMTP", "mail handed over", time.perf_counter() - began, failure)
        raise StopUser


def _tell(user: User, kind: str, name: str, seconds: float, failure: Exception | None) -> None:
    user.environment.events.request.fire(
        request_type=kind,
        name=name,
        response_time=1_000 * seconds,
        response_length=0,
        exception=failure,
        context={},
    )


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def tell(environment: Any, **_: Any) -> None:
    """Who said what when, and how requests went."""
    figures = {
        entry.name: {
            "count": entry.num_requests,
            "failures": entry.num_failures,
            "p50": entry.get_response_time_percentile(0.5) / 1e3,
            "p95": entry.get_response_time_percentile(0.95) / 1e3,
            "p99": entry.get_response_time_percentile(0.99) / 1e3,
            "slowest": entry.max_response_time / 1e3,
        }
        for entry in environment.stats.entries.values()
    }
    errors = {str(error.error)[:300]: error.occurrences for error in environment.stats.errors.values()}
    Path(PLAN.report).write_text(
        json.dumps({"said": _said, "sent": _sent, "figures": figures, "errors": errors}), encoding="utf-8"
    )
