"""The journal as operators and scheduled jobs see it: nobody's lane is held for this."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    case,
    delete,
    exists,
    func,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.journal import queries
from servicekit.journal.journal import now_in_utc
from servicekit.journal.lane import Also, nothing_else
from servicekit.journal.records import PENDING, UNFINISHED, Backlog, Entry, EntryState, Part, PartState
from servicekit.journal.rows import entry_of, part_of
from servicekit.journal.tables import JournalTables
from servicekit.storage.database import Database
from servicekit.storage.deleting import PAGE, PAGE_BYTES
from servicekit.storage.paging import fitting

_DEAD: ColumnElement[str] = literal_column(f"'{EntryState.DEAD.value}'")
"""Written out: only so the database sees that the index of the dead will do."""


class Ledger:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(
        self,
        database: Database,
        tables: JournalTables,
        clock: Callable[[], datetime] = now_in_utc,
        *,
        limits: Sequence[str] = (),
    ) -> None:
        """``limits``: reasons of what is put off because more came than is answered, which is no fault."""
        self._database = database
        self._tables = tables
        self._clock = clock
        self._limits = tuple(limits)

    async def backlog(self) -> Backlog:
        """How much waits now."""
        entries, parts = self._tables.entries.c, self._tables.parts.c
        waiting = select(func.count()).where(entries.closed_at.is_(None))
        dead = select(func.count()).where(entries.state == _DEAD)
        # What was given up keeps its answer, and nobody sends it.
        unsent = select(func.count()).where(
            parts.state.in_(UNFINISHED), parts.entry_id == entries.id, entries.closed_at.is_(None)
        )
        answered = (entries.state == EntryState.ANSWERED) & entries.closed_at.is_(None)
        oldest_unsent = select(func.min(entries.received_at)).where(answered)
        unknown = select(func.count()).where(parts.state == PartState.UNKNOWN)
        repeated = select(func.count()).where(parts.repeats > literal_column("0"))
        async with self._database.reading() as connection:
            oldest = (await connection.execute(self._oldest())).scalar_one()
            counts: list[int] = [
                (await connection.execute(statement)).scalar_one()
                for statement in (waiting, dead, unsent, unknown, repeated)
            ]
            waiting_since = (await connection.execute(oldest_unsent)).scalar_one()
        return Backlog(
            pending=counts[0],
            oldest=oldest,
            dead=counts[1],
            unsent_parts=counts[2],
            unknown_parts=counts[3],
            repeated_parts=counts[4],
            oldest_unsent=waiting_since,
        )

    def _oldest(self) -> Select[Any]:
        """Since when somebody waits for us."""
        entries = self._tables.entries.c
        if not self._limits:
            return select(func.min(entries.received_at)).where(entries.closed_at.is_(None))
        limited = entries.reason.in_(self._limits)
        since = case((limited, entries.due_at), else_=entries.received_at)
        return select(func.min(since)).where(
            entries.closed_at.is_(None),
            # What stands behind the first of a lane waits for it.
            entries.id == queries.first_of_its_lane(self._tables),
            ~(limited & (entries.due_at > self._clock())),
        )

    async def pending(self, most: int = 1_000_000) -> int:
        """How many entries wait now, counted up to ``most``: what can be asked for each message, other than
        :meth:`backlog`, which looks at everything that is kept."""
        row = await self._database.first(queries.count_pending(self._tables), {"most": most})
        return 0 if row is None else int(row["waiting"])

    async def put_off(self) -> dict[str, int]:
        """How many pending entries wait for their time, by the reason why they were put off."""
        entries = self._tables.entries.c
        statement = (
            select(entries.reason, func.count())
            .where(entries.closed_at.is_(None), entries.reason != "", entries.due_at > self._clock())
            .group_by(entries.reason)
        )
        async with self._database.reading() as connection:
            return {row[0]: row[1] for row in await connection.execute(statement)}

    async def dead_letters(self, limit: int = 100) -> list[Entry]:
        """What was given up, oldest first. Without the payloads, which are empty here: all together, they
        can be larger than the memory; :meth:`find` brings one."""
        entries = self._tables.entries
        shown = [column for column in entries.c if column is not entries.c.payload]
        statement = select(*shown, literal(b"").label("payload")).where(entries.c.state == _DEAD)
        async with self._database.reading() as connection:
            rows = await connection.execute(statement.order_by(entries.c.id).limit(limit))
            return [entry_of(row) for row in rows.mappings()]

    async def find(self, entry_id: int) -> Entry | None:
        """One entry, whatever its state."""
        row = await self._database.first(queries.entry(self._tables), {"entry_id": entry_id})
        return None if row is None else entry_of(row)

    async def oldest_pending(self, lane: str) -> Entry | None:
        """What a lane is at work on, or would be next."""
        row = await self._database.first(queries.pending(self._tables), {"of_lane": lane, "most": 1})
        return None if row is None else entry_of(row)

    async def hasten(self, entry_id: int) -> None:
        """Look at something now that was put off."""
        entries = self._tables.entries
        now = self._clock()
        put_off = (entries.c.id == entry_id) & (entries.c.state == EntryState.OPEN) & (entries.c.due_at > now)
        async with self._database.writing() as connection:
            await connection.execute(update(entries).where(put_off).values(due_at=now))

    async def parts(self, entry_id: int) -> list[Part]:
        """What there is of the answer to an entry, in order."""
        parts = self._tables.parts
        statement = select(parts).where(parts.c.entry_id == entry_id).order_by(parts.c.number)
        async with self._database.reading() as connection:
            return [part_of(row) for row in (await connection.execute(statement)).mappings()]

    async def lanes(self, beginning: str) -> list[str]:
        """The names that begin with a text."""
        name = self._tables.lanes.c.name
        statement = select(name).where(name.startswith(beginning, autoescape=True)).order_by(name)
        async with self._database.reading() as connection:
            return list((await connection.execute(statement)).scalars())

    async def history(self, lanes: Sequence[str], *, after: int = 0, limit: int = 500) -> list[Entry]:
        """Entries of these lanes, whatever became of them, oldest first.

        Args:
            after: the number of the last one of the page before.
        """
        entries = self._tables.entries
        statement = (
            select(entries)
            .where(entries.c.id > after, entries.c.lane.in_(lanes))
            .order_by(entries.c.id)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [entry_of(row) for row in (await connection.execute(statement)).mappings()]

    async def erase(self, entries: Sequence[Entry], *, lanes: Sequence[str] = ()) -> None:
        """Delete entries, whatever became of them, and those of ``lanes`` in which nothing stands then.
        Whoever works on one of the entries loses its lane."""
        table, parts, all_lanes = self._tables.entries, self._tables.parts, self._tables.lanes
        numbers = [entry.id for entry in entries]
        lost = {entry.lane for entry in entries if entry.state in PENDING}
        async with self._database.writing() as connection:
            # What is coming in is waited for, and only then it is looked what there is.
            await self._lock(connection, sorted({*lost, *lanes}))
            await connection.execute(delete(parts).where(parts.c.entry_id.in_(numbers)))
            await connection.execute(delete(table).where(table.c.id.in_(numbers)))
            taken = {"generation": all_lanes.c.generation + 1, "leased_until": self._clock()}
            await connection.execute(update(all_lanes).where(all_lanes.c.name.in_(lost)).values(taken))
            if lanes:
                await connection.execute(delete(all_lanes).where(self._empty_among(lanes)))

    async def remove_empty(self, lanes: Sequence[str]) -> None:
        """Delete those of these lanes in which nothing stands any more."""
        await self.erase([], lanes=lanes)

    def _empty_among(self, lanes: Sequence[str]) -> ColumnElement[bool]:
        name = self._tables.lanes.c.name
        return name.in_(lanes) & ~exists().where(self._tables.entries.c.lane == name)

    async def _lock(self, connection: AsyncConnection, names: Sequence[str]) -> None:
        """The lanes come first, and in order, as with whoever works on one: nobody waits for each other."""
        name = self._tables.lanes.c.name
        await connection.execute(select(name).where(name.in_(names)).order_by(name).with_for_update())

    async def requeue(self, entry_id: int) -> bool:
        """Put what was given up back, at the front of its lane. False: it is not among the dead.

        An answer that is stored is sent on, and never computed again: some of it may have arrived. What was
        dropped is sent after all.
        """
        entries, parts = self._tables.entries, self._tables.parts
        its_parts = parts.c.entry_id == entry_id
        stored = select(parts.c.id).where(its_parts, parts.c.content != b"").limit(1)
        back = {"attempts": 0, "due_at": self._clock(), "closed_at": None, "reason": ""}
        dead = update(entries).where(entries.c.id == entry_id, entries.c.state == EntryState.DEAD)
        shown = case((parts.c.external_id == "", PartState.OPEN), else_=PartState.STREAMING)
        dropped = its_parts & (parts.c.state == PartState.DROPPED) & (parts.c.content != b"")
        async with self._database.writing() as connection:
            is_answered = (await connection.execute(stored)).first() is not None
            state = EntryState.ANSWERED if is_answered else EntryState.OPEN
            done = await connection.execute(dead.values(state=state, **back).returning(entries.c.id))
            if done.one_or_none() is None:
                return False
            await connection.execute(update(parts).where(dropped).values(state=shown))
            return True

    async def drop(self, entry_id: int, *, also: Also = nothing_else) -> bool:
        """Delete what was given up, with whatever there is of its answer. False: it is not among the dead.
        ``also`` deletes what is kept elsewhere under its number, which SQLite may give to the next entry."""
        entries, parts = self._tables.entries, self._tables.parts
        dead = (entries.c.id == entry_id) & (entries.c.state == EntryState.DEAD)
        statement = delete(entries).where(dead).returning(entries.c.id)
        async with self._database.writing() as connection:
            of_dead = parts.c.entry_id.in_(select(entries.c.id).where(dead))
            await connection.execute(delete(parts).where(of_dead))
            if (await connection.execute(statement)).one_or_none() is None:
                return False
            await also(connection)
            return True

    async def forget(self, lane: str) -> None:
        """Delete a lane with all that came in and went out there. Whoever works on it loses it."""
        async with self._database.writing() as connection:
            await self.forget_within(connection, [lane])

    async def forget_within(self, connection: AsyncConnection, names: Sequence[str]) -> None:
        """The same for several lanes, in a transaction of the caller's, who deletes there what belongs to
        them: afterwards all is gone, or nothing."""
        lanes, entries, parts = self._tables.lanes, self._tables.entries, self._tables.parts
        these = lanes.c.name.in_(names)
        await self._lock(connection, names)
        of_lanes = select(entries.c.id).where(entries.c.lane.in_(names))
        await connection.execute(delete(parts).where(parts.c.entry_id.in_(of_lanes)))
        await connection.execute(delete(entries).where(entries.c.lane.in_(names)))
        await connection.execute(delete(lanes).where(these))

    async def clean(self, before: datetime) -> int:
        """Delete what was closed before, and lanes in which nothing stands since then. Of what was given up,
        the texts are deleted; that it was given up, and why, stays until an operator has seen it.

        Returns:
            How many entries were deleted or emptied.
        """
        entries, count = self._tables.entries, 0
        old = entries.c.closed_at < before
        over, dead = old & (entries.c.state != _DEAD), old & (entries.c.state == _DEAD)
        while numbers := await self._some(over):
            await self._delete(numbers)
            count += len(numbers)
            await asyncio.sleep(0)
        # Its length is known without reading it.
        while numbers := await self._some(dead & (func.length(entries.c.payload) > 0)):
            await self._empty(numbers)
            count += len(numbers)
            await asyncio.sleep(0)
        await self._remove_unused_lanes(before)
        return count

    async def _some(self, which: ColumnElement[bool]) -> list[int]:
        """A page of entries: each statement has to end within the time that the database gives it, and others
        get their turn after it."""
        entries, parts = self._tables.entries.c, self._tables.parts.c
        answer = select(func.coalesce(func.sum(func.length(parts.content)), 0)).where(
            parts.entry_id == entries.id
        )
        size = func.length(entries.payload) + answer.scalar_subquery()
        # In the order of an index: what was closed long ago need not be sorted anew for every page.
        page = select(entries.id, size).where(which).order_by(entries.closed_at, entries.id).limit(PAGE)
        async with self._database.reading() as connection:
            rows = (await connection.execute(page)).all()
        return [row[0] for row in rows[: fitting([row[1] for row in rows], PAGE_BYTES)]]

    async def _delete(self, numbers: Sequence[int]) -> None:
        entries, parts = self._tables.entries, self._tables.parts
        async with self._database.writing() as connection:
            await connection.execute(delete(parts).where(parts.c.entry_id.in_(numbers)))
            await connection.execute(delete(entries).where(entries.c.id.in_(numbers)))

    async def _empty(self, numbers: Sequence[int]) -> None:
        entries, parts = self._tables.entries, self._tables.parts
        still_dead = entries.c.id.in_(numbers) & (entries.c.state == EntryState.DEAD)
        async with self._database.writing() as connection:
            # One that was put back meanwhile keeps what it is about.
            emptied = update(entries).where(still_dead).values(payload=b"").returning(entries.c.id)
            gone = list((await connection.execute(emptied)).scalars())
            await connection.execute(delete(parts).where(parts.c.entry_id.in_(gone)))

    async def _remove_unused_lanes(self, before: datetime) -> None:
        lanes, entries = self._tables.lanes.c, self._tables.entries.c
        unused = (lanes.leased_until < before) & ~exists().where(entries.lane == lanes.name)
        last = ""
        while True:
            async with self._database.reading() as connection:
                page = select(lanes.name).where(lanes.name > last).order_by(lanes.name).limit(PAGE)
                names = list((await connection.execute(page)).scalars())
                if not names:
                    return
                these = select(lanes.name).where(lanes.name > last, lanes.name <= names[-1], unused)
                empty = list((await connection.execute(these)).scalars())
            if empty:
                await self.remove_empty(empty)
            last = names[-1]
            await asyncio.sleep(0)
