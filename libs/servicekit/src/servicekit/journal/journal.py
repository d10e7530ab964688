"""Messages come in, and workers claim the lanes in which they wait."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Table, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.journal import queries
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Claim, EntryState
from servicekit.journal.tables import JournalTables
from servicekit.storage.database import Database

LEASE_SECONDS = 30.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


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
    ) -> None:
        """``owner`` names this process for operators. The clocks of processes that share a journal may
        differ by a fraction of ``lease_seconds``."""
        self._database = database
        self._tables = tables
        self._owner = owner or uuid.uuid4().hex
        self._lease = timedelta(seconds=lease_seconds)
        self._clock = clock

    async def receive(
        self, key: str, lane: str, payload: bytes, *, not_before: datetime | None = None
    ) -> bool:
        """Store a message; once this returns, it may be acknowledged to whoever sent it.

        Args:
            key: the same whenever this message comes again, at most 300 characters.
            lane: its chat or thread, at most 200 characters.
            not_before: when it is to be looked at; None: at once.

        Returns:
            False: it is known, and nothing was stored.
        """
        now = self._clock()
        async with self._database.writing() as connection:
            await self._insert_once(
                connection,
                self._tables.lanes,
                "name",
                {
                    "name": lane,
                    # Above all that a lane of this name had before it was forgotten: whoever still
                    # believes to hold that one must not be taken for a holder of this one.
                    "generation": (now - LONG_AGO) // timedelta(microseconds=1),
                    "owner": "",
                    "leased_until": LONG_AGO,
                    "control": "",
                },
            )
            return await self._insert_once(
                connection,
                self._tables.entries,
                "key",
                {
                    "key": key,
                    "lane": lane,
                    "state": EntryState.OPEN,
                    "payload": payload,
                    "received_at": now,
                    "due_at": not_before or now,
                    "attempts": 0,
                    "reason": "",
                },
            )

    async def claim(self) -> HeldLane | None:
        """The lane whose turn it is; None: nothing can be done just now."""
        now = self._clock()
        async with self._database.writing() as connection:
            lane = (await connection.execute(queries.claimable(self._tables, now))).scalar_one_or_none()
            if lane is None:
                return None
            taken = queries.take(self._tables, lane, self._owner, now + self._lease)
            claim = Claim(lane, (await connection.execute(taken)).scalar_one())
        return HeldLane(self._database, self._tables, claim, self._lease, self._clock)

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

    async def _insert_once(
        self, connection: AsyncConnection, table: Table, unique: str, values: dict[str, object]
    ) -> bool:
        insert = (postgresql if self._database.dialect == "postgresql" else sqlite).insert
        statement = insert(table).values(values).on_conflict_do_nothing(index_elements=[unique])
        return (await connection.execute(statement.returning(table.c[unique]))).one_or_none() is not None
