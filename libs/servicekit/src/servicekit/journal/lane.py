"""A lane that is held: the entries in it, and the parts of their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from sqlalchemy import Update, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.journal import queries
from servicekit.journal.records import PENDING, UNFINISHED, Claim, Entry, EntryState, Part, PartState
from servicekit.journal.rows import entry_of, part_of
from servicekit.journal.tables import JournalTables
from servicekit.storage.database import Database

Also = Callable[[AsyncConnection], Awaitable[None]]
"""Writes what belongs to a change, in its transaction: both are there afterwards, or neither."""


async def _nothing_else(_connection: AsyncConnection) -> None:
    pass


class LaneLost(Exception):
    """Somebody else holds the lane now: stop at once, and touch nothing any more."""


class HeldLane:
    """What one worker may do while it holds a lane.

    Every write renews the lease in the same transaction, and raises :class:`LaneLost` where the lane was
    claimed by somebody else: then nothing was written. ``StorageUnavailable`` as everywhere.
    """

    def __init__(
        self,
        database: Database,
        tables: JournalTables,
        claim: Claim,
        lease: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self.claim = claim
        self._database = database
        self._tables = tables
        self._lease = lease
        self._clock = clock

    @property
    def name(self) -> str:
        """Of the lane."""
        return self.claim.lane

    # --- the lane -------------------------------------------------------------------------------

    async def renew(self) -> str:
        """Hold the lane for another lease. To be called before every effect that others can see.

        Returns:
            What was said with ``Journal.signal``, or an empty text.
        """
        async with self._database.writing() as connection:
            return await self._hold(connection)

    async def heard(self) -> None:
        """The signal was understood and is to be forgotten."""
        async with self._changing() as connection:
            lanes = self._tables.lanes
            await connection.execute(update(lanes).where(lanes.c.name == self.name).values(control=""))

    async def release(self, pause: float = 0.0) -> None:
        """Let others work on it, at once or after ``pause`` seconds. Nothing happens if they do already."""
        until = self._clock() + timedelta(seconds=pause)
        async with self._database.writing() as connection:
            await connection.execute(queries.extend(self._tables, self.name, self.claim.generation, until))

    async def pending(self, limit: int = 16) -> list[Entry]:
        """What is to be done, in order; due or not."""
        async with self._database.reading() as connection:
            rows = await connection.execute(queries.pending(self._tables, self.name).limit(limit))
            return [entry_of(row) for row in rows.mappings()]

    async def due(self) -> Entry | None:
        """The oldest pending entry, if its time has come."""
        first = next(iter(await self.pending(1)), None)
        return first if first is not None and first.due_at <= self._clock() else None

    # --- its entries ----------------------------------------------------------------------------

    async def begin(self, entry: Entry) -> int:
        """Count an attempt, before anything is tried: work that ends the process counts, too.

        Returns:
            How often it has been tried now.
        """
        entries = self._tables.entries
        statement = self._entry(entry).values(attempts=entries.c.attempts + 1).returning(entries.c.attempts)
        async with self._changing() as connection:
            attempts: int = (await connection.execute(statement)).scalar_one()
            return attempts

    async def put_off(
        self,
        entry: Entry,
        until: datetime,
        reason: str,
        *,
        forgive: bool = False,
        also: Also = _nothing_else,
    ) -> None:
        """Look at it again later; whatever came after it in this lane waits, too.

        Args:
            forgive: do not count this attempt. What waits for something outside may come up any number of
                times; attempts then tell of those that ended badly.
        """
        statement = self._entry(entry).values(due_at=until, reason=reason)
        if forgive:
            statement = statement.values(attempts=self._tables.entries.c.attempts - 1)
        await self._change(statement, also)

    async def finish(self, entry: Entry, reason: str = "", *, also: Also = _nothing_else) -> None:
        """Close an entry that nothing is to be sent for any more.

        Raises:
            ValueError: parts of its answer are unfinished.
        """
        async with self._changing() as connection:
            unfinished = queries.unfinished_parts(self._tables, entry.id)
            if (await connection.execute(unfinished)).first() is not None:
                raise ValueError(f"parts of the answer to entry {entry.id} are still to be sent")
            await connection.execute(self._closing(entry, EntryState.DONE, reason))
            await also(connection)

    async def bury(self, entry: Entry, reason: str, *, also: Also = _nothing_else) -> None:
        """Give it up, for the operator to see."""
        await self._change(self._closing(entry, EntryState.DEAD, reason), also)

    # --- the answer -----------------------------------------------------------------------------

    async def parts(self, entry: Entry) -> list[Part]:
        """What there is of its answer, in order."""
        parts = self._tables.parts
        statement = select(parts).where(parts.c.entry_id == entry.id).order_by(parts.c.number)
        async with self._database.reading() as connection:
            return [part_of(row) for row in (await connection.execute(statement)).mappings()]

    async def open_part(self, entry: Entry, number: int = 0) -> Part:
        """A part before its text is known, for an answer that is shown while it is being written. The one
        that is there already, if so."""
        async with self._changing() as connection:
            return await self._part(connection, entry, number, None)

    async def answer(
        self,
        entry: Entry,
        contents: Sequence[bytes],
        *,
        joined: Sequence[Entry] = (),
        also: Also = _nothing_else,
    ) -> list[Part]:
        """Store the whole answer. From here on it is only sent, never computed again.

        Parts that are out already get their final text; those beyond the last are not to be sent, and may
        not have been begun.

        Args:
            joined: what is answered together with it. They are closed here and not before: an answer that
                has to be computed again needs them again.
        """
        async with self._changing() as connection:
            stored = [
                await self._part(connection, entry, number, content)
                for number, content in enumerate(contents)
            ]
            await connection.execute(self._entry(entry).values(state=EntryState.ANSWERED, reason=""))
            for other in joined:
                await connection.execute(self._closing(other, EntryState.JOINED, ""))
            await also(connection)
            return stored

    async def sending(self, part: Part) -> Part:
        """The call that cannot be repeated without a trace comes next. Where one was cut off before, this is
        counted as a repeat."""
        again = part.state is PartState.SENDING
        return await self._move(part, PartState.SENDING, repeats=part.repeats + again)

    async def streaming(self, part: Part, external_id: str) -> Part:
        """It is out; its text may still change."""
        return await self._move(part, PartState.STREAMING, external_id=external_id)

    async def sent(self, part: Part, external_id: str | None = None, *, also: Also = _nothing_else) -> Part:
        """The other side has all of it."""
        return await self._move(part, PartState.SENT, also, external_id=external_id or part.external_id)

    async def unknown(self, part: Part, *, also: Also = _nothing_else) -> Part:
        """The other side may have it; it is not sent again."""
        return await self._move(part, PartState.UNKNOWN, also)

    async def unsent(self, part: Part) -> Part:
        """The call that was announced with :meth:`sending` never left: it can be made again."""
        return await self._move(part, PartState.OPEN)

    async def dropped(self, part: Part) -> Part:
        """Nobody is there to read it."""
        return await self._move(part, PartState.DROPPED)

    # --- how ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.writing() as connection:
            await self._hold(connection)
            yield connection

    async def _hold(self, connection: AsyncConnection) -> str:
        until = self._clock() + self._lease
        held = queries.extend(self._tables, self.name, self.claim.generation, until)
        control: str | None = (await connection.execute(held)).scalar_one_or_none()
        if control is None:
            raise LaneLost(self.name)
        return control

    async def _change(self, statement: Update, also: Also = _nothing_else) -> None:
        async with self._changing() as connection:
            await connection.execute(statement)
            await also(connection)

    def _entry(self, entry: Entry) -> Update:
        entries = self._tables.entries
        return update(entries).where(entries.c.id == entry.id, entries.c.state.in_(PENDING))

    def _closing(self, entry: Entry, state: EntryState, reason: str) -> Update:
        return self._entry(entry).values(state=state, reason=reason, closed_at=self._clock())

    async def _part(
        self, connection: AsyncConnection, entry: Entry, number: int, content: bytes | None
    ) -> Part:
        parts = self._tables.parts
        here = (parts.c.entry_id == entry.id) & (parts.c.number == number)
        found = (await connection.execute(select(parts).where(here))).mappings().one_or_none()
        if found is not None and content is None:
            return part_of(found)
        if found is not None:
            changed = update(parts).where(here).values(content=content).returning(parts)
            return part_of((await connection.execute(changed)).mappings().one())
        values = {
            "entry_id": entry.id,
            "number": number,
            "state": PartState.OPEN,
            "content": content or b"",
            "external_id": "",
            "repeats": 0,
        }
        return part_of(
            (await connection.execute(insert(parts).values(values).returning(parts))).mappings().one()
        )

    async def _move(self, part: Part, state: PartState, also: Also = _nothing_else, **values: object) -> Part:
        parts = self._tables.parts
        statement = (
            update(parts)
            # The same again is fine: whoever did not hear that it was stored says it once more.
            .where(parts.c.id == part.id, parts.c.state.in_({*UNFINISHED, state}))
            .values(state=state, **values)
            .returning(parts)
        )
        async with self._changing() as connection:
            moved = part_of((await connection.execute(statement)).mappings().one())
            await also(connection)
            return moved
