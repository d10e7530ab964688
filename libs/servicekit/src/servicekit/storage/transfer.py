"""Records of a service come in from, and go out to, JSON Lines: one JSON object per line, whose ``kind`` says
what it is. What a service takes, and how it is kept, it says itself (:class:`Records`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, BinaryIO, Protocol

import msgspec
from sqlalchemy import Column, exists, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.storage.database import Database
from servicekit.storage.failures import is_about_values, without_values

MAX_LINE_BYTES = 67_108_864
MOST_OF_A_MOMENT = 100_000
MOST_REFUSALS = 100
"""So many refused lines are told one by one."""
MOST_OF_A_REASON = 300
"""Characters: a reason may name a field of the line."""
UNREADABLE = "(unreadable)"
"""The kind of a line that is no record."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOWEST = -(2**62)


class TransferError(Exception):
    """Nothing was imported; the text says why."""


class Refused(Exception):
    """A record cannot be taken; the text says why and holds nothing of its words."""


class Verdict(Enum):
    """What became of a record."""

    NEW = auto()
    KNOWN = auto()
    """It was there already, and nothing is changed."""


class Records(Protocol):
    """What a service keeps, record by record. Made anew for each import."""

    @property
    def type(self) -> Any:
        """The records, for msgspec: structs with ``tag_field="kind"``."""

    async def store(self, connection: AsyncConnection, record: Any) -> Verdict:
        """Keep a record unless it is there, in the transaction of the import. Raises Refused."""

    def all(self, database: Database) -> AsyncIterator[msgspec.Struct | None]:
        """Everything, in an order in which it can be imported; None: it cannot be read."""


@dataclass(slots=True)
class Counts:
    """Of one kind of records."""

    read: int = 0
    new: int = 0
    known: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not taken."""

    line: int
    """From 1."""
    reason: str


@dataclass(slots=True)
class Report:
    """What an import did, or would do."""

    kinds: dict[str, Counts] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    """The first MOST_REFUSALS of them."""

    @property
    def refused(self) -> int:
        """How many lines were not taken."""
        return sum(counts.refused for counts in self.kinds.values())

    def note(self, line: int, kind: str, result: Verdict | str) -> None:
        """What became of a line: a text says why it was refused."""
        counts = self.kinds.setdefault(kind, Counts())
        counts.read += 1
        if result is Verdict.NEW:
            counts.new += 1
        elif result is Verdict.KNOWN:
            counts.known += 1
        else:
            counts.refused += 1
            if len(self.refusals) < MOST_REFUSALS:
                self.refusals.append(Refusal(line, _shown(str(result))))


def _shown(reason: str) -> str:
    """For a terminal: a field's name may hold what moves its cursor."""
    return "".join(one if one.isprintable() else "?" for one in reason[:MOST_OF_A_REASON])


class _DryRun(Exception):
    """Undoes what was done to see whether it can be done."""


async def read_all(
    lines: Iterator[bytes], database: Database, records: Records, *, dry_run: bool = False
) -> Report:
    """Import lines, all in one transaction; empty ones are passed over, refused ones left out.

    Raises:
        TransferError: a line is too long; nothing was imported.
        StorageUnavailable: the database is away; nothing was imported.
    """
    report, decoder = Report(), msgspec.json.Decoder(records.type)
    try:
        async with database.writing() as connection:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    kind, result = await _taken(connection, decoder, records, line)
                    report.note(number, kind, result)
            if dry_run:
                raise _DryRun
    except _DryRun:
        pass
    return report


async def _taken(
    connection: AsyncConnection, decoder: msgspec.json.Decoder[Any], records: Records, line: bytes
) -> tuple[str, Verdict | str]:
    """The kind of a record, and what became of it: a text says why it was refused."""
    kind = UNREADABLE
    try:
        record = decoder.decode(line)
        kind = str(record.__struct_config__.tag)
        # PostgreSQL would take nothing more in this transaction after a statement that fails.
        async with connection.begin_nested():
            return kind, await records.store(connection, record)
    except (Refused, msgspec.DecodeError, UnicodeDecodeError) as error:
        return kind, str(error)
    except RecursionError:
        return kind, "it is nested too deeply"
    except DBAPIError as error:
        if not is_about_values(error):
            raise
        return kind, f"the database does not take it ({without_values(error).orig})"


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file. Raises TransferError: one is longer than can be taken."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise TransferError(f"line {number} is longer than {MAX_LINE_BYTES} bytes. Nothing was imported.")
        yield line


async def write_all(file: BinaryIO, database: Database, records: Records) -> int:
    """Export everything; how many records could not be read. Raises StorageUnavailable, OSError."""
    unreadable = 0
    async for record in records.all(database):
        if record is None:
            unreadable += 1
        else:
            file.write(msgspec.json.encode(record) + b"\n")
    return unreadable


def in_utc(moment: datetime) -> datetime:
    """A moment that a database can keep. Raises Refused."""
    if not _EPOCH - timedelta(days=1) < moment < _EPOCH + timedelta(days=365 * 200):
        raise Refused("a time is not between 1970 and 2170")
    return moment.astimezone(UTC)


async def number_for(connection: AsyncConnection, column: Column[int], moment: datetime) -> int:
    """A number for what came from elsewhere, where the journal numbers what comes in: below all of the
    journal's, which are positive, and in the order of time: one for each microsecond, and those of the same
    time take what is free behind it. Raises Refused."""
    first = _LOWEST + (moment - _EPOCH) // timedelta(microseconds=1)
    end = first + MOST_OF_A_MOMENT - 1
    is_first_taken = select(column).where(column == first).limit(1)
    if (await connection.execute(is_first_taken)).first() is None:
        return first
    last: int = (
        await connection.execute(select(func.max(column)).where(column.between(first, end)))
    ).scalar_one()
    if last < end:
        return last + 1
    # The last number may be that of another time, with free ones before it.
    next_one = column.table.alias().c[column.name]
    free = select(func.min(column)).where(
        column.between(first, end - 1), ~exists().where(next_one == column + 1)
    )
    before: int | None = (await connection.execute(free)).scalar_one_or_none()
    if before is None:
        raise Refused(f"more than {MOST_OF_A_MOMENT} records have nearly the same time")
    return before + 1
