"""Forks Telegram services for runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from telegram.error import TelegramError
from telegram.request import HTTPXRequest

from chaos.fast_time import FACTOR, fast_clock, fast_monotonic, fast_utc
from chaos.points import Trace
from chaos.zygote import LEASE_SECONDS, database, replace, serve
from servicekit.hot_state import open_hot_state
from servicekit.journal.crew import Crew
from servicekit.journal.journal import Journal
from servicekit.journal.ledger import Ledger
from telegram_chaos import points
from telegram_service import app, resources
from telegram_service.answering.writing import Writer
from telegram_service.config import Settings


async def run(order: dict[str, Any], trace: Trace) -> None:
    """The service, until its end."""
    points.install(trace)
    replace(_shorter_seconds(order["epoch"]), (app, resources))
    await app.run(Settings.load(os.environ, Path(order["folder"], ".env")))


def _shorter_seconds(epoch: float) -> dict[str, Any]:
    now = fast_utc(epoch)
    return {
        "now_in_utc": now,
        "Journal": partial(Journal, clock=now, lease_seconds=LEASE_SECONDS),
        "Ledger": partial(Ledger, clock=now),
        "Crew": partial(Crew, lease_seconds=LEASE_SECONDS),
        "open_hot_state": partial(open_hot_state, clock=fast_clock(epoch)),
        "Writer": partial(Writer, clock=fast_monotonic),
        "Database": database,
        "HTTPXRequest": _patient,
    }


def _patient(*args: Any, **settings: Any) -> HTTPXRequest:
    # On a machine with more to do, the emulator may be slow; that is none of its mishaps.
    return HTTPXRequest(*args, **settings | {"read_timeout": 20 * FACTOR, "write_timeout": 20 * FACTOR})


if __name__ == "__main__":
    serve(run, TelegramError)
