"""A lane that is held: the entries in it, and the parts of their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.journal import queries
from servicekit.journal.records import UNFINISHED, Claim, Entry, EntryState, Part, PartState
from servicekit.journal.rows import entry_of, part_of
from servicekit.journal.tables import JournalTables
from servicekit.storage.database import Database

Also = Callable[[AsyncConnection], Awaitable[None]]
"""Writes what belongs to a change, in its transaction: both are there afterwards, or neither."""


async def nothing_else(_connection: AsyncConnection) -> None:
    """Nothing belongs to a change."""


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
        async with self.writing() as connection:
            lanes = self._tables.lanes
            await connection.execute(update(lanes).where(lanes.c.name == self.name).values(control=""))

    async def release(self, pause: float = 0.0) -> None:
        """Let others work on it, at once or after ``pause`` seconds. Nothing happens if they do already."""
        until = self._clock() + timedelta(seconds=pause)
        async with self._database.writing() as connection:
            await self._extend(connection, until)

    async def pending(self, limit: int = 16) -> list[Entry]:
        """What is to be done, in order; due or not."""
        pending = queries.pending(self._tables)
        rows = await self._database.rows(pending, {"of_lane": self.name, "most": limit})
        return [entry_of(row) for row in rows]

    async def due(self) -> Entry | None:
        """The oldest pending entry, if its time has come."""
        values = {"of_lane": self.name, "now": self._clock()}
        row = await self._database.first(queries.due(self._tables), values)
        return None if row is None else entry_of(row)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """As ``Database.writing``, in a transaction in which nobody can take the lane away."""
        async with self._database.writing() as connection:
            await self._hold(connection)
            yield connection

    # --- its entries ----------------------------------------------------------------------------

    async def begin(self, entry: Entry) -> int:
        """Count an attempt, before anything is tried: work that ends the process counts, too.

        Returns:
            How often it has been tried now.
        """
        async with self.writing() as connection:
            counted = await connection.execute(queries.begin(self._tables), {"entry_id": entry.id})
            attempts: int = counted.scalar_one()
            return attempts

    async def forgive(self, entry: Entry, *, lost: bool = False) -> None:
        """Take back one attempt that :meth:`begin` has counted: it ended because of something outside, not
        because of the entry. Whoever has lost the lane may do this, too: the sum is the same.

        Args:
            lost: it ended because of that. The next such end counts, unless something comes of the entry.
        """
        forgive, now = queries.forgive(self._tables, lost=lost), {"now": self._clock()}
        async with self._database.writing() as connection:
            await connection.execute(forgive, {"entry_id": entry.id, **(now if lost else {})})

    async def put_off(
        self,
        entry: Entry,
        until: datetime,
        reason: str,
        *,
        forgive: bool = False,
        also: Also = nothing_else,
    ) -> None:
        """Look at it again later; whatever came after it in this lane waits, too.

        Args:
            forgive: do not count this attempt. What waits for something outside may come up any number of
                times; attempts then tell of those that ended badly.
        """
        statement = queries.change_entry(self._tables)
        if forgive:
            statement = statement.values(attempts=self._tables.entries.c.attempts - 1)
        async with self.writing() as connection:
            await connection.execute(statement, {"entry_id": entry.id, "due_at": until, "reason": reason})
            await also(connection)

    async def finish(
        self, entry: Entry, reason: str = "", *, dropped: Sequence[Part] = (), also: Also = nothing_else
    ) -> None:
        """Close an entry that nothing is to be sent for any more.

        Args:
            dropped: parts that nobody is there to read. Dropped before, they would make whoever comes after
                a crash believe that all went out.

        Raises:
            ValueError: other parts of its answer are unfinished.
        """
        async with self.writing() as connection:
            await self._drop(connection, dropped)
            unfinished = queries.unfinished_parts(self._tables)
            if (await connection.execute(unfinished, {"of_entry": entry.id})).first() is not None:
                raise ValueError(f"parts of the answer to entry {entry.id} are still to be sent")
            await self._close(connection, entry, EntryState.DONE, reason)
            await also(connection)

    async def bury(
        self, entry: Entry, reason: str, *, dropped: Sequence[Part] = (), also: Also = nothing_else
    ) -> None:
        """Give it up, for the operator to see; ``dropped`` as in :meth:`finish`."""
        async with self.writing() as connection:
            await self._drop(connection, dropped)
            await self._close(connection, entry, EntryState.DEAD, reason)
            await also(connection)

    # --- the answer -----------------------------------------------------------------------------

    async def parts(self, entry: Entry) -> list[Part]:
        """What there is of its answer, in order."""
        rows = await self._database.rows(queries.parts_of(self._tables), {"of_entry": entry.id})
        return [part_of(row) for row in rows]

    async def open_part(self, entry: Entry, number: int = 0) -> Part:
        """A part before its text is known, for an answer that is shown while it is being written. The one
        that is there already, if so."""
        async with self.writing() as connection:
            there = await self._there(connection, entry)
            return there.get(number) or await self._add_part(connection, entry, number, b"")

    async def answer(
        self,
        entry: Entry,
        contents: Sequence[bytes],
        *,
        joined: Sequence[Entry] = (),
        also: Also = nothing_else,
    ) -> list[Part]:
        """Store the whole answer. From here on it is only sent, never computed again.

        Parts that are out already get their final text. Those beyond the last are dropped: one may have been
        begun for a longer answer, or for a note.

        Args:
            joined: what is answered together with it. They are closed here and not before: an answer that
                has to be computed again needs them again.
        """
        async with self.writing() as connection:
            there = await self._there(connection, entry)
            stored = [
                await self._rewrite(connection, there[number], content=content)
                if number in there
                else await self._add_part(connection, entry, number, content)
                for number, content in enumerate(contents)
            ]
            for part in list(there.values()):
                if part.number >= len(contents) and part.state in UNFINISHED:
                    await self._rewrite(connection, part, state=PartState.DROPPED)
            answered = {"entry_id": entry.id, "state": EntryState.ANSWERED, "reason": ""}
            await connection.execute(queries.change_entry(self._tables), answered)
            for other in joined:
                await self._close(connection, other, EntryState.JOINED, "")
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

    async def sent(self, part: Part, external_id: str | None = None, *, also: Also = nothing_else) -> Part:
        """The other side has all of it."""
        return await self._move(part, PartState.SENT, also, external_id=external_id or part.external_id)

    async def unknown(self, part: Part, *, also: Also = nothing_else) -> Part:
        """The other side may have it; it is not sent again."""
        return await self._move(part, PartState.UNKNOWN, also)

    async def unsent(self, part: Part) -> Part:
        """The call that was announced with :meth:`sending` never left: it can be made again."""
        return await self._move(part, PartState.OPEN)

    async def dropped(self, part: Part) -> Part:
        """Nobody is there to read it."""
        return await self._move(part, PartState.DROPPED)

    # --- how ------------------------------------------------------------------------------------

    async def _hold(self, connection: AsyncConnection) -> str:
        control = await self._extend(connection, self._clock() + self._lease)
        if control is None:
            raise LaneLost(self.name)
        return control

    async def _extend(self, connection: AsyncConnection, until: datetime) -> str | None:
        held = {"lane": self.name, "held": self.claim.generation, "leased_until": until}
        control: str | None = (
            await connection.execute(queries.extend(self._tables), held)
        ).scalar_one_or_none()
        return control

    async def _close(self, connection: AsyncConnection, entry: Entry, state: EntryState, reason: str) -> None:
        closed = {"entry_id": entry.id, "state": state, "reason": reason, "closed_at": self._clock()}
        await connection.execute(queries.change_entry(self._tables), closed)

    async def _drop(self, connection: AsyncConnection, parts: Sequence[Part]) -> None:
        for part in parts:
            await self._rewrite(connection, part, state=PartState.DROPPED)

    async def _there(self, connection: AsyncConnection, entry: Entry) -> dict[int, Part]:
        """The parts that there are, by their number."""
        rows = await connection.execute(queries.parts_of(self._tables), {"of_entry": entry.id})
        return {part.number: part for part in map(part_of, rows.mappings())}

    async def _add_part(self, connection: AsyncConnection, entry: Entry, number: int, content: bytes) -> Part:
        values = {
            "entry_id": entry.id,
            "number": number,
            "state": PartState.OPEN,
            "content": content,
            "external_id": "",
            "repeats": 0,
        }
        added = await connection.execute(queries.add_part(self._tables), values)
        return part_of(added.mappings().one())

    async def _rewrite(self, connection: AsyncConnection, part: Part, **values: object) -> Part:
        changed = await connection.execute(queries.rewrite_part(self._tables), {"part_id": part.id, **values})
        return part_of(changed.mappings().one())

    async def _move(self, part: Part, state: PartState, also: Also = nothing_else, **values: object) -> Part:
        async with self.writing() as connection:
            changed = {"part_id": part.id, "state": state, **values}
            moved = await connection.execute(queries.move_part(self._tables, state), changed)
            row = part_of(moved.mappings().one())
            await also(connection)
            return row
