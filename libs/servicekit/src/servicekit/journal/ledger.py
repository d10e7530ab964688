"""The journal as operators and scheduled jobs see it: nobody's lane is held for this."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import delete, func, select, update

from servicekit.journal import queries
from servicekit.journal.journal import now_in_utc
from servicekit.journal.records import UNFINISHED, Backlog, Entry, EntryState, PartState
from servicekit.journal.rows import entry_of
from servicekit.journal.tables import JournalTables
from servicekit.storage.database import Database


class Ledger:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(
        self, database: Database, tables: JournalTables, clock: Callable[[], datetime] = now_in_utc
    ) -> None:
        self._database = database
        self._tables = tables
        self._clock = clock

    async def backlog(self) -> Backlog:
        """How much waits now."""
        entries, parts = self._tables.entries.c, self._tables.parts.c
        waiting = select(func.count(), func.min(entries.received_at)).where(entries.closed_at.is_(None))
        dead = select(func.count()).where(entries.state == EntryState.DEAD)
        unsent = select(func.count()).where(parts.state.in_(UNFINISHED))
        unknown = select(func.count()).where(parts.state == PartState.UNKNOWN)
        repeated = select(func.count()).where(parts.repeats > 0)
        async with self._database.reading() as connection:
            pending, oldest = (await connection.execute(waiting)).one()
            counts = [
                (await connection.execute(statement)).scalar_one()
                for statement in (dead, unsent, unknown, repeated)
            ]
        return Backlog(pending, oldest, *counts)

    async def dead_letters(self, limit: int = 100) -> list[Entry]:
        """What was given up, oldest first."""
        entries = self._tables.entries
        statement = select(entries).where(entries.c.state == EntryState.DEAD).order_by(entries.c.id)
        async with self._database.reading() as connection:
            rows = await connection.execute(statement.limit(limit))
            return [entry_of(row) for row in rows.mappings()]

    async def find(self, entry_id: int) -> Entry | None:
        """One entry, whatever its state."""
        entries = self._tables.entries
        async with self._database.reading() as connection:
            rows = await connection.execute(select(entries).where(entries.c.id == entry_id))
            row = rows.mappings().one_or_none()
            return None if row is None else entry_of(row)

    async def requeue(self, entry_id: int) -> bool:
        """Put what was given up back, at the front of its lane. False: it is not among the dead."""
        entries = self._tables.entries
        statement = (
            update(entries)
            .where(entries.c.id == entry_id, entries.c.state == EntryState.DEAD)
            .values(state=EntryState.OPEN, attempts=0, due_at=self._clock(), closed_at=None, reason="")
            .returning(entries.c.id)
        )
        async with self._database.writing() as connection:
            return (await connection.execute(statement)).one_or_none() is not None

    async def forget(self, lane: str) -> None:
        """Delete a lane with all that came in and went out there. Whoever works on it loses it."""
        lanes, entries, parts = self._tables.lanes, self._tables.entries, self._tables.parts
        of_lane = select(entries.c.id).where(entries.c.lane == lane)
        async with self._database.writing() as connection:
            await connection.execute(delete(parts).where(parts.c.entry_id.in_(of_lane)))
            await connection.execute(delete(entries).where(entries.c.lane == lane))
            await connection.execute(delete(lanes).where(lanes.c.name == lane))

    async def clean(self, before: datetime) -> int:
        """Delete what was closed before; the dead stay. Returns how many entries that were."""
        async with self._database.writing() as connection:
            return (await connection.execute(queries.closed_before(self._tables, before))).rowcount
