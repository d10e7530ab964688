"""Ten thousand mails lie in the mailbox when the service sees it for the first time."""

from __future__ import annotations

import os
import signal
import smtplib
import time
from collections.abc import Sequence
from pathlib import Path

from loadtests.mail import mailboxes, verdict
from loadtests.mail.books import Books
from loadtests.mail.letters import MIX, Kind, Thread, other, question, thread
from loadtests.mail.town import Town, until
from loadtests.mail.verdict import Line
from servers import HOST

FULL = 10_000
LATE = 20
"""Mails that come while the mailbox is walked through."""
LONGEST = 1_800.0
"""Seconds; only ends what would hang for ever."""
TEN_DAYS = 10 * 86_400.0
MORE_MEGABYTES = 60.0
"""Of memory, for a mailbox of twice as many and more."""
AT_ONCE = 4
"""Threads that are answered at once: so many sends may be under way when the process is killed."""
REASONS: dict[Kind, str] = {
    "question": "answered",
    "newsletter": "ignored: mailing_list",
    "automatic": "ignored: auto_submitted",
    "old": "ignored: too old",
    "blocked": "ignored: blocked",
}


def backlog(town: Town, full: int = FULL, late: int = LATE) -> list[Line]:
    """All end as they should, across a kill, and who writes meanwhile is answered as well."""
    kinds = [MIX[number % len(MIX)] for number in range(full)]
    threads = [thread(f"q{number}", 1) for number, kind in enumerate(kinds) if kind == "question"]
    latecomers = [thread(f"late{number}", 1) for number in range(late)]
    size = _fill(town, kinds)
    began = time.time()
    town.service.start()
    with Books(town.database_url) as books, town.service.watched():
        until(lambda: books.stored() >= full // 5, LONGEST, 0.1)
        wrote = time.time()
        _write(town, latecomers)
        until(lambda: books.stored() >= 2 * full // 5, LONGEST, 0.1)
        town.service.end(signal.SIGKILL)
        town.service.start()
        walked = until(lambda: books.stored() >= full + late, LONGEST)
        walking = time.time() - began
        until(lambda: books.pending() == 0, LONGEST)
        seconds = time.time() - began
        found = mailboxes.received(town.dovecot, [of.sender for of in [*threads, *latecomers]])
        moments = mailboxes.moments(town.dovecot, [of.sender for of in latecomers])
        expected = {reason: kinds.count(kind) for kind, reason in REASONS.items()}
        expected["answered"] += late
        ended = verdict.states(books.reasons(), expected)
        stored = books.stored()
    _, marked = mailboxes.marks(town.dovecot, town.mailbox)
    return [
        Line("mails that were there at first", f"{full:,}, {size / 1e6:.0f} MB"),
        Line("walked through, and what came meanwhile", f"{stored:,}", walked and stored == full + late),
        verdict.answered_once([*threads, *latecomers], found, resent=AT_ONCE),
        *ended,
        Line("questions marked as answered", f"{marked:,}", marked == expected["answered"]),
        verdict.bounded(town.service.memory, MORE_MEGABYTES),
        verdict.pace("walked through", full + late, walking),
        verdict.pace("all in their final state", full + late, seconds),
        Line(
            "who wrote meanwhile was answered, after",
            f"{moments[-1] - wrote:.1f} s at most" if moments else "never",
            len(moments) >= late,
        ),
    ]


def _fill(town: Town, kinds: Sequence[Kind]) -> int:
    """Put the mails where Dovecot finds them; how many bytes that are."""
    mails = [
        (
            question(thread(f"q{number}", 1), 0, town.mailbox)
            if kind == "question"
            else other(kind, number, town.mailbox)
        ).as_bytes()
        for number, kind in enumerate(kinds)
    ]
    town.dovecot.put(town.mailbox, mails)
    folder = town.dovecot.maildir(town.mailbox) / "new"
    files = sorted(folder.iterdir(), key=_number)
    for kind, file in zip(kinds, files, strict=True):
        # When a mail came is when its file was written.
        moment = time.time() - (TEN_DAYS if kind == "old" else 0.0)
        os.utime(file, (moment, moment))
    return sum(map(len, mails))


def _number(file: Path) -> int:
    return int(file.name.split(".M")[1].split(".")[0])


def _write(town: Town, threads: Sequence[Thread]) -> None:
    with smtplib.SMTP(HOST, town.postfix.port) as smtp:
        for of in threads:
            smtp.sendmail(of.sender, [town.mailbox], question(of, 0, town.mailbox).as_bytes())
