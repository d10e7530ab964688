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


@dataclass(frozen=True, slots=True)
class Use:
    """What was answered within the hour."""

    used: int
    free_at: datetime | None
    """When the oldest of them no longer counts."""


@dataclass(frozen=True, slots=True)
class Uses:
    """The three counts."""

    of_all: Use
    of_person: Use
    of_shared: Use


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
        now = self._clock()
        async with self._database.writing() as connection:
            if self._database.dialect == "postgresql":
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER}
                )
            known = select(allowances.c.entry_id).where(allowances.c.entry_id == entry_id)
            if (await connection.execute(known)).first() is not None:
                return None
            theirs = allowances.c.person == person
            rules = [(self._limits.of_all, true()), (self._limits.of_person, theirs)]
            if shared:
                rules.append((self._limits.of_shared, theirs & allowances.c.shared))
            frees = [await self._free_at(connection, limit, those, now) for limit, those in rules]
            waits = [moment for moment in frees if moment is not None]
            if waits:
                return max(waits)
            await connection.execute(
                insert(allowances).values(entry_id=entry_id, person=person, shared=shared, at=now)
            )
        return None

    async def uses(self, entry_id: int, person: str) -> Uses:
        """What was used by others than this mail."""
        now, theirs = self._clock(), allowances.c.person == person
        async with self._database.reading() as connection:

            async def use(those: ColumnElement[bool]) -> Use:
                statement = select(func.count(), func.min(allowances.c.at)).where(
                    those, allowances.c.at > now - WINDOW, allowances.c.entry_id != entry_id
                )
                used, oldest = (await connection.execute(statement)).one()
                return Use(used, None if oldest is None else oldest + WINDOW)

            return Uses(await use(true()), await use(theirs), await use(theirs & allowances.c.shared))

    async def forget(self, person: str) -> None:
        """Delete the counts of somebody."""
        async with self._database.writing() as connection:
            await connection.execute(delete(allowances).where(allowances.c.person == person))

    async def clean(self) -> None:
        """Delete what no longer counts."""
        async with self._database.writing() as connection:
            await connection.execute(delete(allowances).where(allowances.c.at < self._clock() - 2 * WINDOW))

    @staticmethod
    async def _free_at(
        connection: AsyncConnection, limit: int, those: ColumnElement[bool], now: datetime
    ) -> datetime | None:
        """When one more of those fits; None: now."""
        hindrance = (
            select(allowances.c.at)
            .where(those, allowances.c.at > now - WINDOW)
            .order_by(allowances.c.at.desc())
            .offset(limit - 1)
            .limit(1)
        )
        moment: datetime | None = (await connection.execute(hindrance)).scalar_one_or_none()
        return None if moment is None else moment + WINDOW
