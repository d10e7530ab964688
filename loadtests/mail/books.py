"""What the journal says while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self

from sqlalchemy import Select, func, select

from mail_service.storage.tables import journal
from servicekit.storage.database import Database, StorageUnavailable, database_url

ENTRIES = journal.entries.c


class Books:
    """Of one database, looked at from outside."""

    def __init__(self, address: str) -> None:
        self._runner = asyncio.Runner()
        self._database = Database(database_url(address))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._database.close())
        self._runner.close()

    def stored(self) -> int:
        """Mails that were taken in."""
        return int(self._rows(select(func.count()).select_from(journal.entries))[0][0])

    def pending(self) -> int:
        """Mails that are not done with."""
        waiting = select(func.count()).select_from(journal.entries).where(ENTRIES.closed_at.is_(None))
        return int(self._rows(waiting)[0][0])

    def reasons(self) -> Mapping[str, int]:
        """How many mails ended for each reason, with their state where that is not the usual one."""
        counts = select(ENTRIES.state, ENTRIES.reason, func.count()).group_by(ENTRIES.state, ENTRIES.reason)
        return {
            (reason if state == "done" else f"{state}: {reason}"): count
            for state, reason, count in self._rows(counts)
        }

    def _rows(self, statement: Select[Any]) -> list[Any]:
        while True:
            try:
                return self._runner.run(self._read(statement))
            except StorageUnavailable as error:
                self._runner.run(asyncio.sleep(error.retry_after))

    async def _read(self, statement: Select[Any]) -> list[Any]:
        async with self._database.reading() as connection:
            return list((await connection.execute(statement)).all())
