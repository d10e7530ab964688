"""A mail may be large: whatever is done with it, the rest of the service goes on meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mail_service.config import Settings
from mail_service.intake import Archive, Intake
from mail_service.mailbox.port import Arrival, Cursor
from mail_service.records import Records, migrate, open_records
from mail_store import written
from servicekit.journal.journal import now_in_utc
from servicekit.journal.wakeups import LocalWakeups
from servicekit.storage.deleting import PAGE_BYTES
from turns import turns_during

LARGE = b"From: Anne <anne@example.org>\r\nMessage-ID: <1@example.org>\r\n\r\n" + b"words\r\n" * 200_000


@pytest.fixture
async def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Records]:
    monkeypatch.chdir(tmp_path)
    settings = Settings(database_url=SecretStr(f"sqlite:///{tmp_path}/mail.db"))
    await migrate(settings)
    async with open_records(settings) as opened:
        yield opened


async def test_others_get_their_turn_at_each_step_with_a_large_mail(records: Records) -> None:
    archive = Archive(
        records.database,
        records.journal,
        records.envelopes,
        records.correspondence,
        records.cursors,
        records.ways,
        records.names,
    )
    intake = Intake(archive, LocalWakeups(), {"INBOX": "neo@example.org"}, lambda _: False)
    await intake.take("INBOX", Arrival(Cursor(7, 1), len(LARGE), now_in_utc(), LARGE))
    assert await turns_during(records.journal.receive("another", "t", LARGE)) > 0
    assert await turns_during(records.journal.busy("t")) > 0
    held = await records.journal.claim()
    assert held is not None
    assert await turns_during(held.due()) > 0
    entry = await held.due()
    assert entry is not None
    assert await turns_during(held.begin(entry)) > 0
    assert await turns_during(held.put_off(entry, now_in_utc() + timedelta(hours=1), "later")) > 0
    assert await turns_during(records.ledger.find(entry.id)) > 0
    assert await turns_during(held.bury(entry, "no way")) > 0


async def test_letters_that_are_old_are_deleted_a_few_at_a_time(records: Records) -> None:
    text, count = "é" * (PAGE_BYTES // 8), 20
    async with records.database.writing() as connection:
        for number in range(count):
            letter = written(f"<{number}@x>", "anne@example.org", text)
            await records.correspondence.came_in(connection, 1_000 + number, "t", letter)
    deleted: list[str] = []

    def look(*arguments: object) -> None:
        deleted.extend(["page"] * str(arguments[2]).startswith("DELETE"))

    event.listen(Engine, "before_cursor_execute", look)
    try:
        assert await records.correspondence.clean(now_in_utc()) == count
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert len(deleted) > 3
    assert await records.correspondence.threads_of(records.names.person("anne@example.org")) == []
