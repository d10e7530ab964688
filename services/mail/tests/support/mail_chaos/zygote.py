"""A process that has imported the service, and forks it: each service is a real process, and starts at once.

Orders and answers are those of ``telegram_chaos.zygote``.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL

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
from servicekit import logging
from servicekit.hot_state import open_hot_state
from servicekit.journal.crew import Crew
from servicekit.journal.ledger import Ledger
from servicekit.storage.database import COMMAND_SECONDS, Database, StorageUnavailable
from telegram_chaos.fast_time import FACTOR, FastLoop, fast_clock, fast_monotonic, fast_utc

FOR_A_WHILE = 75
"""Exit status where something was away at the start (EX_TEMPFAIL)."""
LEASE_SECONDS = 6.0
"""A killed process holds its lanes so long."""
RESEND_SECONDS = 4.0
IMAP = imap.Timing(answer=8.0, idle=20.0, check=2.0, first_pause=0.5, longest_pause=3.0, refused_pause=2.0)
SMTP = session.Timing(answer=8.0, verdict=8.0)
LATE_IMPORTS = (
    "aiosqlite",
    "asyncpg",
    "h11",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What would be imported at the first use."""


def main() -> None:
    """Serve orders until there are no more."""
    for name in LATE_IMPORTS:
        importlib.import_module(name)
    gc.freeze()
    running: set[int] = set()
    wake, waken = os.pipe()
    os.set_blocking(waken, False)
    signal.set_wakeup_fd(waken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders = os.fdopen(0, "rb", buffering=0)
    while True:
        ready, _, _ = select.select([orders.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _reap(running)
        if orders.fileno() in ready:
            line = orders.readline()
            if not line:
                break
            pid = os.fork()
            if pid == 0:
                orders.close()
                _become(json.loads(line))
            running.add(pid)
            _say({"pid": pid})
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _reap(running: set[int]) -> None:
    for pid in list(running):
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            cpu = usage.ru_utime + usage.ru_stime
            _say({"ended": pid, "status": os.waitstatus_to_exitcode(status), "cpu": cpu})


def _say(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _become(order: dict[str, Any]) -> None:
    """The service, with shorter seconds and points at which it may end; never returns."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(log, number)
        os.environ.clear()
        os.environ.update(order["environ"])
        logging.configure("info", "json")
        trace = points.Trace(
            os.open(order["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            order["point"],
            order["times"],
        )
        points.install(trace)
        _shorten_seconds(order["epoch"])
        with asyncio.Runner(loop_factory=FastLoop) as runner:
            runner.run(app.run(Settings.load(os.environ, Path(order["folder"], ".env"))))
        status = 0
    except StorageUnavailable:
        # It could not start: whoever started it tries again.
        status = FOR_A_WHILE
    except BaseException:  # noqa: BLE001 - told, whatever it is: the status says that it was not the plan
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _shorten_seconds(epoch: float) -> None:
    now = fast_utc(epoch)
    replaced: dict[str, Any] = {
        "now_in_utc": now,
        "PausableJournal": partial(PausableJournal, clock=now, lease_seconds=LEASE_SECONDS),
        "Ledger": partial(Ledger, clock=now),
        "Crew": partial(Crew, lease_seconds=LEASE_SECONDS),
        "Watcher": partial(Watcher, lease_seconds=LEASE_SECONDS),
        "open_hot_state": partial(open_hot_state, clock=fast_clock(epoch)),
        "Database": _database,
        "DnsResolver": partial(KnownRecords, {}),
        "Timing": lambda **_: IMAP,
        "SmtpOutlet": partial(SmtpOutlet, timing=SMTP),
        "RESEND_SECONDS": RESEND_SECONDS,
    }
    for name, value in replaced.items():
        places = [module for module in (app, records, connecting, delivering) if hasattr(module, name)]
        assert places, f"the composition root has no {name} any more"
        for module in places:
            setattr(module, name, value)


def _database(url: URL, *, command_seconds: float = COMMAND_SECONDS) -> Database:
    # SQLite waits in real seconds, whoever asks it; and PostgreSQL works in them.
    share = 1 / FACTOR if url.drivername.startswith("sqlite") else FACTOR / 2
    return Database(url, command_seconds=command_seconds * share, clock=fast_monotonic)


if __name__ == "__main__":
    main()
