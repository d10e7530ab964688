"""A clock of the whole service that tests put forward: hours pass at once, and seconds as ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from mail_service import app, records, web
from mail_service.admin.office import Office
from mail_service.pausing import PausableJournal
from servicekit.journal.ledger import Ledger


@dataclass
class TurnedClock:
    """As the machine's, and ``ahead`` of it."""

    ahead: timedelta = timedelta()
    stands_at: datetime | None = None
    """None: it goes on."""

    def __call__(self) -> datetime:
        return self.stands_at or datetime.now(UTC) + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> TurnedClock:
    """Of every service that a test opens."""
    turned = TurnedClock()
    for module in (app, records, web):
        monkeypatch.setattr(module, "now_in_utc", turned)
    monkeypatch.setattr(records, "PausableJournal", partial(PausableJournal, clock=turned))
    monkeypatch.setattr(records, "Ledger", partial(Ledger, clock=turned))
    monkeypatch.setattr(app, "Office", partial(Office, clock=turned))
    return turned
