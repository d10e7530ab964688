"""SECRET_KEY changes: what was sealed before is sealed anew, row by row, while the service runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, RowMapping, Table, select, update

from servicekit.storage.database import Database
from servicekit.storage.sealing import Seal, Unreadable
from telegram_service.storage.tables import broadcasts, journal, turns

UPDATES = "update"
"""The place of updates, as seals understand it."""
ANSWERS = "answer"
"""The place of messages that go out."""
PAGE = 200


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many values there were of each kind."""

    renewed: int = 0
    current: int = 0
    """They were sealed with the new key already."""
    unreadable: int = 0
    """Neither the new key nor one of the old ones opens them."""

    def __add__(self, other: Resealed) -> Resealed:
        return Resealed(
            self.renewed + other.renewed, self.current + other.current, self.unreadable + other.unreadable
        )


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A column of sealed values."""

    table: Table
    number: Column[int]
    value: Column[bytes]
    place: Callable[[RowMapping], str]


def _columns() -> list[_Sealed]:
    entries, parts = journal.entries, journal.parts
    return [
        _Sealed(entries, entries.c.id, entries.c.payload, lambda _: UPDATES),
        _Sealed(parts, parts.c.id, parts.c.content, lambda _: ANSWERS),
        _Sealed(broadcasts, broadcasts.c.id, broadcasts.c.content, lambda _: ANSWERS),
        *(
            _Sealed(turns, turns.c.entry_id, turns.c[name], lambda row: str(row["lane"]))
            for name in ("question", "answer", "document")
        ),
    ]


async def reseal(database: Database, new: Seal, old: Sequence[Seal]) -> Resealed:
    """Seal everything with ``new`` that one of ``old`` has sealed. May be broken off and called again. Raises
    StorageUnavailable."""
    total = Resealed()
    for column in _columns():
        every = select(column.table).order_by(column.number).limit(PAGE)
        page = every
        while True:
            async with database.reading() as connection:
                rows = (await connection.execute(page)).mappings().all()
            if not rows:
                break
            # What was imported has negative numbers.
            page = every.where(column.number > rows[-1][column.number.name])
            for row in rows:
                total += await _reseal_one(database, column, row, new, old)
    return total


async def _reseal_one(
    database: Database, column: _Sealed, row: RowMapping, new: Seal, old: Sequence[Seal]
) -> Resealed:
    stored, place = row[column.value.name], column.place(row)
    if not stored:
        return Resealed()
    for seal in (new, *old):
        try:
            value = seal.open(stored, place)
        except Unreadable:
            continue
        if seal is new:
            return Resealed(current=1)
        # Whoever has changed it meanwhile has sealed it anew by that.
        here = (column.number == row[column.number.name]) & (column.value == stored)
        change = update(column.table).where(here).values({column.value.name: new.close(value, place)})
        async with database.writing() as connection:
            await connection.execute(change)
        return Resealed(renewed=1)
    return Resealed(unreadable=1)
