"""How many mails may be answered in an hour: counted in the database, for all instances together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_service.storage.tables import allowances
from servicekit.storage.database import Database

WINDOW = timedelta(hours=1)
_LOCK_NUMBER = 0x6E656F03
"""PostgreSQL's advisory lock under which allowances are given, one after the other."""


def _hindrance(*those: ColumnElement[bool]) -> Select[Any]:
    """The mail that has to leave the window first. Parameters: ``since``, ``before_it``, ``who``."""
    return (
        select(allowances.c.at)
        .where(*those, allowances.c.at > bindparam("since"))
        .order_by(allowances.c.at.desc())
        .offset(bindparam("before_it"))
        .limit(1)
    )


# Built once, since every mail needs them.
_THEIRS = allowances.c.person == bindparam("who")
_OF_ALL, _OF_PERSON = _hindrance(), _hindrance(_THEIRS)
_OF_SHARED = _hindrance(_THEIRS, allowances.c.shared)
_KNOWN = select(allowances.c.entry_id).where(allowances.c.entry_id == bindparam("number"))
_ADD = insert(allowances)


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
                await connection.execute(_ADD, values)
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
            free = await self._free_number(connection)
            rows = [
                {"entry_id": free - number, "person": "", "shared": False, "at": at}
                for number, at in enumerate(moments)
            ]
            if rows:
                await connection.execute(insert(allowances), rows)

    async def detach(self, connection: AsyncConnection, entry_id: int) -> None:
        """A mail is deleted, in a transaction of the caller's: what it was allowed still counts for its
        sender, but not as an allowance for a mail that gets its number."""
        await self._one_after_the_other(connection)
        free = await self._free_number(connection)
        its_own = update(allowances).where(allowances.c.entry_id == entry_id)
        await connection.execute(its_own.values(entry_id=free))

    async def clean(self) -> None:
        """Delete what no longer counts."""
        async with self._database.writing() as connection:
            await connection.execute(delete(allowances).where(allowances.c.at < self._clock() - 2 * WINDOW))

    async def _one_after_the_other(self, connection: AsyncConnection) -> None:
        if self._database.dialect == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})

    @staticmethod
    async def _free_number(connection: AsyncConnection) -> int:
        """Below all numbers of entries: one that is deleted may be given to another mail."""
        lowest = (await connection.execute(select(func.min(allowances.c.entry_id)))).scalar_one() or 0
        return min(lowest, 0) - 1

    @staticmethod
    async def _is_allowed(connection: AsyncConnection, entry_id: int) -> bool:
        return (await connection.execute(_KNOWN, {"number": entry_id})).first() is not None

    async def _wait(self, connection: AsyncConnection, person: str, *, shared: bool) -> datetime | None:
        rules = [(self._limits.of_all, _OF_ALL), (self._limits.of_person, _OF_PERSON)]
        if shared:
            rules.append((self._limits.of_shared, _OF_SHARED))
        frees = [await self._free_at(connection, limit, those, person) for limit, those in rules]
        return max((moment for moment in frees if moment is not None), default=None)

    async def _free_at(
        self, connection: AsyncConnection, limit: int, those: Select[Any], person: str
    ) -> datetime | None:
        """When one more of those fits; None: now."""
        values = {"since": self._clock() - WINDOW, "before_it": limit - 1}
        values |= {} if those is _OF_ALL else {"who": person}
        moment: datetime | None = (await connection.execute(those, values)).scalar_one_or_none()
        return None if moment is None else moment + WINDOW
