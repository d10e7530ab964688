"""The way of every mail: what was done with it, when, and why. No text of users, no address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import RowMapping, bindparam, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_service import lanes
from mail_service.storage.tables import journal, steps
from servicekit.journal.lane import Also
from servicekit.journal.records import EntryState
from servicekit.storage.database import Database

Rules = Sequence[tuple[str, str]]
"""Rules that were tried, each with its outcome."""
MAX_REASON = 200

# Built once: building one anew, and finding its compiled form again, costs more than executing it.
_ADD = insert(steps)
_EXISTS = select(journal.entries.c.id).where(journal.entries.c.id == bindparam("number"))
_OF = select(steps).where(steps.c.entry_id == bindparam("number")).order_by(steps.c.id)


class Step(StrEnum):
    """What was done with a mail."""

    RECEIVED = "received"
    DECIDED = "decided"
    WRITTEN = "written"
    """The answer is stored; the reason names the model, or says that the words are our own."""
    SENT = "sent"
    DRAFTED = "drafted"
    UNKNOWN = "unknown"
    """It went out, and nobody knows whether the server took it."""
    COPIED = "copied"
    MARKED = "marked"
    PUT_OFF = "put_off"
    IGNORED = "ignored"
    HELD = "held"
    DEAD = "dead"
    REQUEUED = "requeued"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Passed:
    """One step."""

    at: datetime
    step: Step
    reason: str
    rules: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mail that is not done with."""

    entry_id: int
    state: str
    received_at: datetime
    due_at: datetime
    attempts: int
    reason: str


class Ways:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        observe: Callable[[Step, str], None] = lambda _step, _reason: None,
    ) -> None:
        """``observe`` is told of every step that was written down."""
        self._database = database
        self._clock = clock
        self.observe = observe

    async def add(self, entry_id: int, step: Step, reason: str = "", rules: Rules = ()) -> None:
        """Write down a step. Nothing happens if the entry was forgotten meanwhile."""
        async with self._database.writing() as connection:
            if (await connection.execute(_EXISTS, {"number": entry_id})).first() is not None:
                await self.add_within(connection, entry_id, step, reason, rules)

    async def add_within(
        self, connection: AsyncConnection, entry_id: int, step: Step, reason: str = "", rules: Rules = ()
    ) -> None:
        """The same in a transaction of the caller's, where the entry is there for certain."""
        values = {
            "entry_id": entry_id,
            "at": self._clock(),
            "step": step,
            "reason": reason[:MAX_REASON],
            "rules": [list(rule) for rule in rules],
        }
        await connection.execute(_ADD, values)
        self.observe(step, reason)

    def noting(self, entry_id: int, step: Step, reason: str = "", rules: Rules = ()) -> Also:
        """The same for the transaction of whoever changes what a step is about."""

        async def note(connection: AsyncConnection) -> None:
            await self.add_within(connection, entry_id, step, reason, rules)

        return note

    async def decided(self, entry_id: int) -> Passed | None:
        """What was decided about a mail at last."""
        way = await self.of(entry_id)
        return next((passed for passed in reversed(way) if passed.step is Step.DECIDED), None)

    async def of(self, entry_id: int) -> list[Passed]:
        """All steps of a mail, in order."""
        return [_passed(row) for row in await self._database.rows(_OF, {"number": entry_id})]

    async def counts(self, since: datetime) -> dict[tuple[str, str], int]:
        """How often each step was made for each reason."""
        statement = (
            select(steps.c.step, steps.c.reason, func.count())
            .where(steps.c.at >= since)
            .group_by(steps.c.step, steps.c.reason)
        )
        async with self._database.reading() as connection:
            return {(step, reason): count for step, reason, count in await connection.execute(statement)}

    async def of_mails(self, since: datetime) -> dict[Step, int]:
        """How often each step was made with a mail; what its sender was told besides is not counted."""
        entries = journal.entries.c
        statement = (
            select(steps.c.step, func.count())
            .join(journal.entries, entries.id == steps.c.entry_id)
            .where(steps.c.at >= since, ~entries.lane.startswith(lanes.NOTICES, autoescape=True))
            .group_by(steps.c.step)
        )
        async with self._database.reading() as connection:
            return {Step(step): count for step, count in await connection.execute(statement)}

    async def received(self, lane: str) -> list[tuple[int, datetime]]:
        """The numbers of what came into a lane, and when, oldest first."""
        entries = journal.entries.c
        statement = select(entries.id, entries.received_at).where(entries.lane == lane).order_by(entries.id)
        async with self._database.reading() as connection:
            return [(number, at) for number, at in await connection.execute(statement)]

    async def queue(self, limit: int = 100) -> list[Waiting]:
        """What is not done with, oldest first."""
        entries = journal.entries.c
        shown = (entries.state, entries.received_at, entries.due_at, entries.attempts, entries.reason)
        # Without the mails themselves: a page of them can be larger than the memory.
        statement = select(entries.id, *shown).where(entries.closed_at.is_(None))
        statement = statement.order_by(entries.id).limit(limit)
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return [
            Waiting(
                row["id"],
                EntryState(row["state"]).value,
                row["received_at"],
                row["due_at"],
                row["attempts"],
                row["reason"],
            )
            for row in rows
        ]


def _passed(row: RowMapping) -> Passed:
    rules = tuple((str(rule), str(outcome)) for rule, outcome in row["rules"])
    return Passed(row["at"], Step(row["step"]), row["reason"], rules)
