"""What an operator has switched, for all instances."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import delete, insert, select

from mail_service.storage.tables import switches
from servicekit.storage.database import Database

PAUSED = "paused"
_SINCE = select(switches.c.since).where(switches.c.name == PAUSED)


class Switches:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def paused_since(self) -> datetime | None:
        """None: mails are being answered."""
        row = await self._database.first(_SINCE, {})
        return row["since"] if row is not None else None

    async def pause(self) -> None:
        """Answer nothing from now on; mails still come in and wait."""
        async with self._database.writing() as connection:
            await connection.execute(delete(switches).where(switches.c.name == PAUSED))
            await connection.execute(insert(switches).values(name=PAUSED, since=self._clock()))

    async def resume(self) -> None:
        """Answer again."""
        async with self._database.writing() as connection:
            await connection.execute(delete(switches).where(switches.c.name == PAUSED))
