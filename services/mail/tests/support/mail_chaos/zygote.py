"""Forks mail services for runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from chaos.fast_time import fast_clock, fast_utc
from chaos.points import Trace
from chaos.zygote import LEASE_SECONDS, database, replace, serve
from mail_chaos import points
from mail_service import app, connecting, records
from mail_service.answering import delivering
from mail_service.config import Settings
from mail_service.mailbox import imap
from mail_service.pausing import PausableJournal
from mail_service.sending import session
from mail_service.sending.smtp import SmtpOutlet
from mail_service.verifying.resolver import KnownRecords
from mail_service.watching import Watcher
from servicekit.hot_state import open_hot_state
from servicekit.journal.crew import Crew
from servicekit.journal.ledger import Ledger

RESEND_SECONDS = 4.0
IMAP = imap.Timing(answer=8.0, idle=20.0, check=2.0, first_pause=0.5, longest_pause=3.0, refused_pause=2.0)
SMTP = session.Timing(answer=8.0, verdict=8.0)


async def run(order: dict[str, Any], trace: Trace) -> None:
    """The service, until its end."""
    points.install(trace)
    replace(_shorter_seconds(order["epoch"]), (app, records, connecting, delivering))
    await app.run(Settings.load(os.environ, Path(order["folder"], ".env")))


def _shorter_seconds(epoch: float) -> dict[str, Any]:
    now = fast_utc(epoch)
    return {
        "now_in_utc": now,
        "PausableJournal": partial(PausableJournal, clock=now, lease_seconds=LEASE_SECONDS),
        "Ledger": partial(Ledger, clock=now),
        "Crew": partial(Crew, lease_seconds=LEASE_SECONDS),
        "Watcher": partial(Watcher, lease_seconds=LEASE_SECONDS),
        "open_hot_state": partial(open_hot_state, clock=fast_clock(epoch)),
        "Database": database,
        "DnsResolver": partial(KnownRecords, {}),
        "Timing": lambda **_: IMAP,
        "SmtpOutlet": partial(SmtpOutlet, timing=SMTP),
        "RESEND_SECONDS": RESEND_SECONDS,
    }


if __name__ == "__main__":
    serve(run)
