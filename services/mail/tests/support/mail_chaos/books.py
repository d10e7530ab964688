"""What the journal says at the end of a run."""

from __future__ import annotations

import email
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from mail_chaos.verdict import EntryRow
from mail_service.answering.envelopes import CameIn, Envelopes, Sending
from mail_service.storage.tables import journal as tables
from servicekit.storage.database import Database
from servicekit.storage.sealing import seal_for


class Books:
    """Opens them with the secret of the service."""

    def __init__(self, database: Database, secret: str) -> None:
        self._database = database
        self._envelopes = Envelopes(seal_for("mail", secret))

    async def entries(self) -> list[EntryRow]:
        """All of them, as they came in."""
        async with self._database.reading() as connection:
            entries = (await connection.execute(select(tables.entries).order_by(tables.entries.c.id))).all()
            parts = (await connection.execute(select(tables.parts).order_by(tables.parts.c.number))).all()
        return [self._row(entry, [part for part in parts if part.entry_id == entry.id]) for entry in entries]

    def _row(self, entry: Any, parts: Sequence[Any]) -> EntryRow:
        came = self._envelopes.open_incoming(entry.payload)
        raw = came.raw if isinstance(came, CameIn) else b""
        row = EntryRow(entry.id, _message_id(raw), entry.lane, entry.state, entry.reason)
        for part in parts:
            todo = self._envelopes.open_part(part.content)
            if isinstance(todo, Sending):
                row = replace(row, sent=part.state, repeats=part.repeats, answer_id=_message_id(todo.content))
        return row


def _message_id(raw: bytes) -> str:
    return str(email.message_from_bytes(raw)["Message-ID"])
