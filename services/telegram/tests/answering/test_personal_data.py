"""What somebody said is found among all that is said in groups, while the bot goes on with everybody."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from servicekit.journal.journal import now_in_utc
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import EntryState
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import SecretSeal
from telegram_service.allowance import unlimited
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.personal_data import PAGE, PersonalData
from telegram_service.storage.broadcasts import Broadcasts
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.migrations import SCHEMA
from telegram_service.storage.people import People
from telegram_service.storage.tables import journal as tables
from turns import turns_during

ANNE, BOB, GROUP = 42, 43, "-1001"
SEAL = SecretSeal(b"secret of the tests", "telegram")
PAGES = 4


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[PersonalData]:
    """A group in which Bob says much, and Anne something now and then."""
    database = Database(database_url(f"sqlite:///{tmp_path}/telegram.db"), in_loop=True)
    await upgrade(database, SCHEMA)
    envelopes, now = Envelopes(SEAL), now_in_utc()
    lane = {"name": GROUP, "generation": 0, "owner": "", "leased_until": now, "control": ""}
    entry = {"lane": GROUP, "state": EntryState.DONE, "attempts": 0, "reason": ""}
    entry |= {"received_at": now, "due_at": now, "closed_at": now}
    async with database.writing() as connection:
        await connection.execute(insert(tables.lanes), [lane])
        rows = [
            {"key": f"m{n}", "payload": envelopes.close_update(said(n)), **entry} for n in range(PAGES * PAGE)
        ]
        await connection.execute(insert(tables.entries), rows)
    yield PersonalData(
        database,
        People(database, now_in_utc),
        Conversations(database, SEAL, now_in_utc, session_timeout=timedelta(hours=1)),
        Broadcasts(database, now_in_utc),
        Ledger(database, tables),
        envelopes,
        unlimited(now_in_utc),
    )
    await database.close()


def said(number: int) -> dict[str, Any]:
    return {"message": {"from": {"id": BOB if number % PAGE else ANNE}, "text": f"words {number}"}}


async def test_others_get_their_turn_while_groups_are_searched_for_an_export(kept: PersonalData) -> None:
    assert await turns_during(kept.export(ANNE)) >= PAGES
    exported = json.loads(await kept.export(ANNE) or b"")
    texts = [message["update"]["message"]["text"] for message in exported["messages"]]
    assert texts == [f"words {number}" for number in range(0, PAGES * PAGE, PAGE)]


async def test_others_get_their_turn_while_groups_are_searched_for_what_is_to_be_forgotten(
    kept: PersonalData,
) -> None:
    assert await turns_during(kept.forget(ANNE)) >= PAGES
    assert await kept.export(ANNE) is None
    left = await kept.ledger.history([GROUP], limit=PAGES * PAGE)
    assert len(left) == PAGES * (PAGE - 1)
