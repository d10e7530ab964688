"""Messages come in, and workers claim the lanes in which they wait."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.journal import queries
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Claim, EntryState
from servicekit.journal.tables import JournalTables
from servicekit.storage.database import Database

LEASE_SECONDS = 30.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""Before everything; what is urgent has been due since then."""


def now_in_utc() -> datetime:
    return datetime.now(UTC)


class Journal:
    """One service's journal. Several processes may keep the same one.

    Every method raises ``StorageUnavailable`` while the database is away.
    """

    def __init__(
        self,
        database: Database,
        tables: JournalTables,
        *,
        owner: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], datetime] = now_in_utc,
        has_urgent: bool = True,
    ) -> None:
        """``owner`` names this process for operators. The clocks of processes that share a journal may
        differ by a fraction of ``lease_seconds``. Where nothing is ever urgent (``has_urgent``), claims need
        not look for it, past all that waits."""
        self._database = database
        self._tables = tables
        self._owner = owner or uuid.uuid4().hex
        self._lease = timedelta(seconds=lease_seconds)
        self._clock = clock
        self._has_urgent = has_urgent

    async def receive(
        self,
        key: str,
        lane: str,
        payload: bytes,
        *,
        not_before: datetime | None = None,
        urgent: bool = False,
        closed: str = "",
    ) -> bool:
        """Store a message; once this returns, it may be acknowledged to whoever sent it.

        Args:
            key: the same whenever this message comes again, at most 300 characters.
            lane: its chat or thread, at most 200 characters.
            not_before: when it is to be looked at; None: at once.
            urgent: it goes before what waits in other lanes, until it is put off.
            closed: why nothing is to be done about it: it is recorded, and that is all.

        Returns:
            False: it is known, and nothing was stored.
        """
        async with self._database.writing() as connection:
            due_at = LONG_AGO if urgent else not_before
            number = await self.store(connection, key, lane, payload, due_at=due_at, closed=closed)
            return number is not None

    async def store(
        self,
        connection: AsyncConnection,
        key: str,
        lane: str,
        payload: bytes,
        *,
        due_at: datetime | None = None,
        closed: str = "",
    ) -> int | None:
        """As :meth:`receive`, in a transaction of the caller's, who stores there what belongs to it.

        Returns:
            The number of the new entry; None: the message is known.
        """
        now = self._clock()
        await self._add_lane(connection, lane)
        values = {
            "key": key,
            "lane": lane,
            "state": EntryState.DONE if closed else EntryState.OPEN,
            "payload": payload,
            "received_at": now,
            "due_at": due_at or now,
            "attempts": 0,
            "reason": closed,
            "closed_at": now if closed else None,
        }
        add = queries.add_entry(self._tables, self._database.dialect)
        number: int | None = (await connection.execute(add, values)).scalar_one_or_none()
        return number

    async def claim(self) -> HeldLane | None:
        """The lane whose turn it is; None: nothing can be done just now."""
        now, claimable = self._clock(), queries.claimable(self._tables)
        # In SQLite, looking is cheap, and a transaction keeps all others from writing.
        looks_first = self._database.dialect == "sqlite"
        if looks_first and await self._database.first(claimable, {"now": now, "due_by": now}) is None:
            return None
        async with self._database.writing() as connection:
            for due_by in (LONG_AGO, now) if self._has_urgent else (now,):
                found = await connection.execute(claimable, {"now": now, "due_by": due_by})
                lane = found.scalar_one_or_none()
                if lane is not None:
                    return await self._take(connection, lane, now)
        return None

    async def hold(self, lane: str) -> HeldLane | None:
        """A lane by its name, whatever waits there; None: somebody else holds it.

        For work that only one process may do at a time: such a lane needs no entries, and no worker claims
        one that has none.
        """
        now = self._clock()
        async with self._database.writing() as connection:
            await self._add_lane(connection, lane)
            free = await connection.execute(queries.free(self._tables), {"lane": lane, "now": now})
            if free.one_or_none() is None:
                return None
            return await self._take(connection, lane, now)

    async def _take(self, connection: AsyncConnection, lane: str, now: datetime) -> HeldLane:
        holding = {"lane": lane, "owner": self._owner, "leased_until": now + self._lease}
        taken = await connection.execute(queries.take(self._tables), holding)
        claim = Claim(lane, taken.scalar_one())
        return HeldLane(self._database, self._tables, claim, self._lease, self._clock)

    async def _add_lane(self, connection: AsyncConnection, name: str) -> None:
        values = {
            "name": name,
            # Above all that a lane of this name had before it was forgotten: whoever still
            # believes to hold that one must not be taken for a holder of this one.
            "generation": (self._clock() - LONG_AGO) // timedelta(microseconds=1),
            "owner": "",
            "leased_until": LONG_AGO,
            "control": "",
        }
        await connection.execute(queries.add_lane(self._tables, self._database.dialect), values)

    async def signal(self, lane: str, control: str) -> bool:
        """Say something to whoever works on a lane, past everything that waits there.

        The worker reads it with its next :meth:`HeldLane.renew`; a later signal takes its place. False: there
        is no such lane.
        """
        lanes = self._tables.lanes
        statement = update(lanes).where(lanes.c.name == lane).values(control=control).returning(lanes.c.name)
        async with self._database.writing() as connection:
            return (await connection.execute(statement)).one_or_none() is not None

    async def busy(self, lane: str) -> bool:
        """Whether somebody works on a lane just now."""
        lanes = self._tables.lanes.c
        statement = select(lanes.name).where(lanes.name == lane, lanes.leased_until > self._clock())
        async with self._database.reading() as connection:
            return (await connection.execute(statement)).one_or_none() is not None
