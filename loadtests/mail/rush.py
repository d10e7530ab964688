"""A thousand mails at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.mail import mailboxes, verdict
from loadtests.mail.letters import Thread, thread
from loadtests.mail.town import Town, paths, until
from loadtests.mail.verdict import Line
from servers import HOST

LONGEST = 600.0
"""Seconds; only ends what would hang for ever."""


@dataclass(frozen=True, slots=True)
class Load:
    """Who writes how much."""

    alone: int
    """Threads of one mail."""
    threads: int
    """Threads of several."""
    length: int
    """Mails of each of these."""

    @property
    def total(self) -> int:
        """All mails."""
        return self.alone + self.threads * self.length


THOUSAND = Load(alone=600, threads=100, length=4)


def rush(town: Town, load: Load = THOUSAND) -> list[Line]:
    """Everybody writes at once, and has an answer."""
    people = [(f"p{number}", load.length) for number in range(load.threads)]
    people += [(f"p{load.threads + number}", 1) for number in range(load.alone)]
    threads = [thread(name, mails) for name, mails in people]
    senders = [of.sender for of in threads]
    town.service.start()
    with town.service.watched():
        taken = write(town, people)
        until(lambda: mailboxes.count(town.dovecot, senders) >= load.total, LONGEST)
    return judged(town, threads, taken)


def judged(town: Town, threads: Sequence[Thread], taken: dict[str, float]) -> list[Line]:
    """What came of it."""
    senders = [of.sender for of in threads]
    total = sum(len(of.message_ids) for of in threads)
    # The last of them is still being filed.
    until(lambda: mailboxes.marks(town.dovecot, town.mailbox)[1] >= total, 30.0)
    found = mailboxes.received(town.dovecot, senders)
    answered = mailboxes.moments_by_id(town.dovecot, senders)
    moments = mailboxes.moments(town.dovecot, senders)
    began = min(taken.values())
    memory = [(at, size) for at, size in town.service.memory if began <= at <= moments[-1]]
    copies = mailboxes.message_ids(town.dovecot, town.mailbox, '"Messages sent"')
    _, marked = mailboxes.marks(town.dovecot, town.mailbox)
    return [
        verdict.answered_once(threads, found),
        verdict.references(threads, found),
        verdict.in_order(threads, mailboxes.message_ids(town.dovecot, town.mailbox), found),
        Line("copies in Sent, each once", f"{len(set(copies)):,}", len(copies) == len(set(copies)) == total),
        Line("questions marked as answered", f"{marked:,}", marked == total),
        verdict.flat(memory),
        verdict.pace("mails taken by Postfix", len(taken), max(taken.values()) - began),
        verdict.pace("answers in mailboxes, from the first question on", len(moments), moments[-1] - began),
        verdict.waits(taken, answered),
    ]


def write(town: Town, people: Sequence[tuple[str, int]]) -> dict[str, float]:
    """Let everybody write; when Postfix had taken each mail."""
    report, order = town.folder / "report.json", town.folder / "load.json"
    order.write_text(
        json.dumps(
            {
                "people": people,
                "total": sum(mails for _, mails in people),
                "mailbox": town.mailbox,
                "host": HOST,
                "port": town.postfix.port,
                "report": str(report),
            }
        )
    )
    users = str(len(people))
    options = ["--headless", "-u", users, "-r", users, "-t", f"{LONGEST:.0f}s", "--only-summary"]
    locustfile = Path(__file__).with_name("locustfile.py")
    log = town.folder / "locust.log"
    with log.open("w") as file:
        locust = subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", str(locustfile), *options, "-H", "smtp://localhost"],
            env=paths() | {"LOAD": str(order)},
            stdout=file,
            stderr=file,
        )
    until(lambda: report.exists() or locust.poll() is not None, LONGEST, 0.1)
    locust.terminate()
    locust.wait()
    assert report.exists(), log.read_text()
    taken: dict[str, float] = json.loads(report.read_text())
    return taken
