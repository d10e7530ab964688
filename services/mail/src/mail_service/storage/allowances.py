"""How many mails may be answered in an hour: counted in the database, for all instances together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, insert, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_service.storage.tables import allowances
from servicekit.storage.database import Database

WINDOW = timedelta(hours=1)
_LOCK_NUMBER = 0x6E656F03
"""PostgreSQL's advisory lock under which allowances are given, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyLimits:
    """Mails that are answered within any 60 minutes."""

    of_all: int
    of_person: int
    of_shared: int
    """Of one person's mails that others got as well, or that had us in Cc."""


class Allowances:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(self, database: Database, limits: HourlyLimits, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock

    async def ask(self, entry_id: int, person: str, *, shared: bool) -> datetime | None:
        """Let a mail be answered, and count it; one that was allowed stays so.

        Returns:
            None: it may be answered. Otherwise when to ask again.
        """
        async with self._database.writing() as connection:
            await self._one_after_the_other(connection)
            if await self._is_allowed(connection, entry_id):
                return None
            wait = await self._wait(connection, person, shared=shared)
            if wait is None:
                values = {"entry_id": entry_id, "person": person, "shared": shared, "at": self._clock()}
                await connection.execute(insert(allowances).values(values))
            return wait

    async def look(self, entry_id: int, person: str, *, shared: bool) -> datetime | None:
        """What :meth:`ask` would say now; nothing is counted."""
        async with self._database.reading() as connection:
            if await self._is_allowed(connection, entry_id):
                return None
            return await self._wait(connection, person, shared=shared)

    async def of_person(self, person: str) -> list[datetime]:
        """When mails of somebody were allowed that are still counted, oldest first."""
        statement = select(allowances.c.at).where(allowances.c.person == person).order_by(allowances.c.at)
        async with self._database.reading() as connection:
            return list((await connection.execute(statement)).scalars())

    async def forget(self, person: str) -> None:
        """Delete the counts of somebody. What they were answered still counts for the limit of all, as
        nobody's."""
        theirs = delete(allowances).where(allowances.c.person == person).returning(allowances.c.at)
        async with self._database.writing() as connection:
            await self._one_after_the_other(connection)
            moments = (await connection.execute(theirs)).scalars().all()
            # Below all numbers of entries: one that is forgotten may be given to another mail.
            lowest = (await connection.execute(select(func.min(allowances.c.entry_id)))).scalar_one() or 0
            rows = [
                {"entry_id": min(lowest, 0) - number, "person": "", "shared": False, "at": at}
                for number, at in enumerate(moments, 1)
            ]
            if rows:
                await connection.execute(insert(allowances), rows)

    async def clean(self) -> None:
        """Delete what no longer counts."""
        async with self._database.writing() as connection:
            await connection.execute(delete(allowances).where(allowances.c.at < self._clock() - 2 * WINDOW))

    async def _one_after_the_other(self, connection: AsyncConnection) -> None:
        if self._database.dialect == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})

    @staticmethod
    async def _is_allowed(connection: AsyncConnection, entry_id: int) -> bool:
        known = select(allowances.c.entry_id).where(allowances.c.entry_id == entry_id)
        return (await connection.execute(known)).first() is not None

    async def _wait(self, connection: AsyncConnection, person: str, *, shared: bool) -> datetime | None:
        theirs = allowances.c.person == person
        rules = [(self._limits.of_all, true()), (self._limits.of_person, theirs)]
        if shared:
            rules.append((self._limits.of_shared, theirs & allowances.c.shared))
        frees = [await self._free_at(connection, limit, those) for limit, those in rules]
        return max((moment for moment in frees if moment is not None), default=None)

    async def _free_at(
        self, connection: AsyncConnection, limit: int, those: ColumnElement[bool]
    ) -> datetime | None:
        """When one more of those fits; None: now."""
        hindrance = (
            select(allowances.c.at)
            .where(those, allowances.c.at > self._clock() - WINDOW)
            .order_by(allowances.c.at.desc())
            .offset(limit - 1)
            .limit(1)
        )
        moment: datetime | None = (await connection.execute(hindrance)).scalar_one_or_none()
        return None if moment is None else moment + WINDOW
