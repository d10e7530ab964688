"""The tables of batches. What stands in requests and results is sealed before it comes here.

A line is ``waiting``, ``running`` (claimed by a process, with a lease), or has ended: ``done``,
``failed``, ``cancelled``. Only who holds a line's claim can write its result, and result and state are
one row's one update: a line has at most one result, whoever crashes when.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    RowMapping,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_core.storage.database import Database
from ai_core.storage.tables import batch_lines, batches

INSERT_BYTES = 1_048_576
INSERT_ROWS = 500
READ_ROWS = 100


class BatchState(StrEnum):
    """Of a whole batch."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """Its key was revoked or has expired."""


class LineState(StrEnum):
    """Of one line."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (LineState.WAITING, LineState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One batch; all times with their zone."""

    id: str
    key_id: str
    state: BatchState = BatchState.IN_PROGRESS
    lines: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


Counts = dict[LineState, int]
"""How many lines are in each state; all states are there."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A line that this process may answer now. ``token`` is unique for ever."""

    batch_id: str
    number: int
    token: str


@dataclass(frozen=True, slots=True)
class EndedLine:
    """``request`` is there where there is no result: the line was cancelled."""

    number: int
    state: LineState
    result: bytes | None
    request: bytes | None


class BatchRepository:
    """Batches and their lines. Every method raises StorageUnavailable when the database is down."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: BatchRecord, requests: Sequence[bytes]) -> None:
        """Store a new batch with all of its lines, or nothing."""
        async with self._database.writing() as connection:
            await connection.execute(insert(batches), _columns(record))
            for rows in _portions(record.id, requests):
                await connection.execute(insert(batch_lines), rows)

    async def of_key(self, key_id: str, limit: int) -> list[tuple[BatchRecord, Counts]]:
        """Batches of a key, the newest first."""
        statement = (
            select(batches)
            .where(batches.c.key_id == key_id)
            .order_by(batches.c.created_at.desc(), batches.c.id)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            records = [_record(row) for row in (await connection.execute(statement)).mappings()]
            counts = await _counts(connection, [record.id for record in records])
        return [(record, counts[record.id]) for record in records]

    async def find(self, key_id: str, batch_id: str) -> tuple[BatchRecord, Counts] | None:
        """A batch of this key."""
        statement = select(batches).where(batches.c.id == batch_id, batches.c.key_id == key_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(statement)).mappings().first()
            if row is None:
                return None
            return _record(row), (await _counts(connection, [batch_id]))[batch_id]

    async def ended_lines(self, batch_id: str) -> AsyncIterator[EndedLine]:
        """Lines that have ended, in the order of the input; a few at a time are in memory."""
        last = -1
        while True:
            statement = (
                select(
                    batch_lines.c.number,
                    batch_lines.c.state,
                    batch_lines.c.result,
                    case((batch_lines.c.result.is_(None), batch_lines.c.request)).label("request"),
                )
                .where(
                    batch_lines.c.batch_id == batch_id,
                    batch_lines.c.number > last,
                    batch_lines.c.state.not_in(OPEN),
                )
                .order_by(batch_lines.c.number)
                .limit(READ_ROWS)
            )
            async with self._database.reading() as connection:
                rows = (await connection.execute(statement)).all()
            for number, state, result, request in rows:
                yield EndedLine(number, LineState(state), result, request)
            if len(rows) < READ_ROWS:
                return
            last = rows[-1].number

    async def end(self, batch_id: str, state: BatchState) -> bool:
        """End a batch that is in progress: what was not answered yet is cancelled. False if it was over."""
        async with self._database.writing() as connection:
            now = await _now(connection)
            ended = await connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.state == BatchState.IN_PROGRESS)
                .values(state=state, finished_at=now)
            )
            if ended.rowcount != 1:
                return False
            await connection.execute(
                update(batch_lines)
                .where(batch_lines.c.batch_id == batch_id, batch_lines.c.state.in_(OPEN))
                .values(state=LineState.CANCELLED, claim=None, lease_until=None)
            )
            return True

    async def delete(self, key_id: str, batch_id: str) -> bool:
        """Forget a batch of this key with all of its lines. False if there is none."""
        statement = delete(batches).where(batches.c.id == batch_id, batches.c.key_id == key_id)
        async with self._database.writing() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def in_progress(self, key_id: str) -> list[str]:
        """The ids of a key's batches that are in progress."""
        statement = select(batches.c.id).where(
            batches.c.key_id == key_id, batches.c.state == BatchState.IN_PROGRESS
        )
        async with self._database.reading() as connection:
            return list((await connection.execute(statement)).scalars())

    async def keys_with_work(self) -> list[str]:
        """Keys that have a batch in progress; who began first comes first."""
        statement = (
            select(batches.c.key_id)
            .where(batches.c.state == BatchState.IN_PROGRESS)
            .group_by(batches.c.key_id)
            .order_by(func.min(batches.c.created_at))
        )
        async with self._database.reading() as connection:
            return list((await connection.execute(statement)).scalars())

    async def claim(self, key_id: str, token: str, seconds: float) -> tuple[Claim, bytes] | None:
        """The next line of a key that waits, claimed for so long, and its request; None if there is none."""
        async with self._database.writing() as connection:
            now = await _now(connection)
            row = (await connection.execute(_next_line(key_id, now))).first()
            if row is None:
                return None
            claim = Claim(row.batch_id, row.number, token)
            await connection.execute(
                update(batch_lines)
                .where(batch_lines.c.batch_id == row.batch_id, batch_lines.c.number == row.number)
                .values(
                    state=LineState.RUNNING,
                    claim=token,
                    lease_until=now + timedelta(seconds=seconds),
                    not_before=None,
                )
            )
            if row.started_at is None:
                await connection.execute(
                    update(batches).where(batches.c.id == row.batch_id).values(started_at=now)
                )
            return claim, row.request

    async def renew(self, tokens: Collection[str], seconds: float) -> set[str]:
        """Hold these claims for so long from now. Returns those that are still held."""
        async with self._database.writing() as connection:
            now = await _now(connection)
            await connection.execute(
                update(batch_lines)
                .where(batch_lines.c.claim.in_(tokens))
                .values(lease_until=now + timedelta(seconds=seconds))
            )
            held = await connection.execute(
                select(batch_lines.c.claim).where(batch_lines.c.claim.in_(tokens))
            )
            return set(held.scalars())

    async def record(self, claim: Claim, state: LineState, result: bytes) -> bool:
        """Write the result of a line. False if the claim is lost: then nothing is written."""
        statement = (
            update(batch_lines)
            .where(_is_held(claim))
            .values(state=state, result=result, request=None, claim=None, lease_until=None)
        )
        async with self._database.writing() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def give_back(self, claims: Iterable[Claim], wait: float = 0.0) -> None:
        """Let lines wait again, for at least so many seconds; claims that are lost are left alone."""
        async with self._database.writing() as connection:
            not_before = (await _now(connection)) + timedelta(seconds=wait) if wait else None
            for claim in claims:
                await connection.execute(
                    update(batch_lines)
                    .where(_is_held(claim))
                    .values(state=LineState.WAITING, claim=None, lease_until=None, not_before=not_before)
                )

    async def finish(self) -> list[str]:
        """Note batches whose last line has ended as completed; their ids."""
        open_line = exists().where(batch_lines.c.batch_id == batches.c.id, batch_lines.c.state.in_(OPEN))
        statement = (
            update(batches)
            .where(batches.c.state == BatchState.IN_PROGRESS, ~open_line)
            .returning(batches.c.id)
        )
        async with self._database.writing() as connection:
            now = await _now(connection)
            finished = await connection.execute(statement.values(state=BatchState.COMPLETED, finished_at=now))
            return list(finished.scalars())

    async def take_back_lapsed(self) -> int:
        """Let lines wait again whose process has died. Returns how many there were."""
        async with self._database.writing() as connection:
            now = await _now(connection)
            lapsed = await connection.execute(
                update(batch_lines)
                .where(batch_lines.c.state == LineState.RUNNING, batch_lines.c.lease_until < now)
                .values(state=LineState.WAITING, claim=None, lease_until=None)
            )
            return lapsed.rowcount

    async def delete_older(self, days: int) -> int:
        """Forget batches that ended so many days ago. Returns how many there were."""
        async with self._database.writing() as connection:
            cutoff = (await _now(connection)) - timedelta(days=days)
            gone = await connection.execute(delete(batches).where(batches.c.finished_at < cutoff))
            return gone.rowcount


def _next_line(key_id: str, now: datetime) -> Any:
    return (
        select(batch_lines.c.batch_id, batch_lines.c.number, batch_lines.c.request, batches.c.started_at)
        .join(batches, batches.c.id == batch_lines.c.batch_id)
        .where(
            batches.c.key_id == key_id,
            batches.c.state == BatchState.IN_PROGRESS,
            batch_lines.c.state == LineState.WAITING,
            or_(batch_lines.c.not_before.is_(None), batch_lines.c.not_before <= now),
        )
        .order_by(batches.c.created_at, batches.c.id, batch_lines.c.number)
        .limit(1)
        # Several replicas take different lines. SQLite has one writer at a time, and knows no such words.
        .with_for_update(of=batch_lines, skip_locked=True)
    )


def _is_held(claim: Claim) -> Any:
    return and_(
        batch_lines.c.batch_id == claim.batch_id,
        batch_lines.c.number == claim.number,
        batch_lines.c.claim == claim.token,
    )


async def _now(connection: AsyncConnection) -> datetime:
    """Leases are measured by one clock: the database's, or this machine's where that is a file."""
    if connection.dialect.name == "postgresql":
        now: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
        return now
    return datetime.now(UTC)


async def _counts(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Counts]:
    statement = (
        select(batch_lines.c.batch_id, batch_lines.c.state, func.count())
        .where(batch_lines.c.batch_id.in_(ids))
        .group_by(batch_lines.c.batch_id, batch_lines.c.state)
    )
    counts: dict[str, Counts] = {batch_id: dict.fromkeys(LineState, 0) for batch_id in ids}
    for batch_id, state, count in (await connection.execute(statement)).all():
        counts[batch_id][LineState(state)] = count
    return counts


def _portions(batch_id: str, requests: Sequence[bytes]) -> Iterable[list[dict[str, Any]]]:
    """Rows to be written in one statement each: a long one would run into its time-out."""
    rows: list[dict[str, Any]] = []
    size = 0
    for number, request in enumerate(requests):
        rows.append({"batch_id": batch_id, "number": number, "state": LineState.WAITING, "request": request})
        size += len(request)
        if size >= INSERT_BYTES or len(rows) >= INSERT_ROWS:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _columns(record: BatchRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in BatchRecord.__slots__}


def _record(row: RowMapping) -> BatchRecord:
    return BatchRecord(**{**row, "state": BatchState(row["state"])})
