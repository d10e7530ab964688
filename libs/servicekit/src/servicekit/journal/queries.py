"""The statements that every message needs, some of which decide who may work on what. They mean the same in
SQLite and PostgreSQL.

Each is built once: building one anew, and finding its compiled form again, costs more than executing it.
What changes from one time to the next are its parameters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Insert,
    ScalarSelect,
    Select,
    Table,
    Update,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from servicekit.journal.records import PENDING, UNFINISHED, EntryState, PartState
from servicekit.journal.tables import JournalTables

LOST = "its lane was lost"
"""The reason of an entry whose attempt was taken back because of that."""


def first_of_its_lane(tables: JournalTables) -> ScalarSelect[Any]:
    """The number of the oldest pending entry in the lane of an entry of the statement around it."""
    older = tables.entries.alias("older")
    # Looked up lane by lane. As NOT EXISTS, PostgreSQL may join all that waits with all that waits: its
    # statistics are of quiet hours, when next to nothing did.
    return (
        select(older.c.id)
        .where(older.c.lane == tables.entries.c.lane, older.c.closed_at.is_(None))
        .order_by(older.c.id)
        .limit(1)
        .scalar_subquery()
    )


@lru_cache
def claimable(tables: JournalTables) -> Select[Any]:
    """The lane that nobody holds and whose oldest pending entry is due by some moment; the longest waiting
    first. Parameters: ``now``, ``due_by``.

    An entry that is put off holds up those behind it: the order within a lane is kept.
    """
    lanes, entries = tables.lanes.c, tables.entries.c
    return (
        select(lanes.name)
        .join_from(tables.entries, tables.lanes, entries.lane == lanes.name)
        .where(
            entries.closed_at.is_(None),
            entries.due_at <= bindparam("due_by"),
            lanes.leased_until <= bindparam("now"),
            entries.id == first_of_its_lane(tables),
        )
        .order_by(entries.id)
        .limit(1)
        # Two workers at once take two lanes; in SQLite, the transaction is exclusive already.
        .with_for_update(skip_locked=True, of=tables.lanes)
    )


def _one_of(column: ColumnElement[Any], states: tuple[EntryState | PartState, ...]) -> ColumnElement[bool]:
    # An IN would be written out anew each time.
    return or_(*(column == state for state in states))


@lru_cache
def add_lane(tables: JournalTables, dialect: str) -> Insert:
    """A lane, unless there is one of its name, which stays until the transaction ends. Parameters: its
    columns."""
    if dialect == "postgresql":
        add = postgresql.insert(tables.lanes)
        # A change that changes nothing, but locks the row: else it could be deleted as an empty lane, with
        # what is being put into it.
        return add.on_conflict_do_update(index_elements=["name"], set_={"name": add.excluded.name})
    return sqlite.insert(tables.lanes).on_conflict_do_nothing(index_elements=["name"])


@lru_cache
def add_entry(tables: JournalTables, dialect: str) -> ReturningInsert[Any]:
    """An entry, and its number; no row: there is one of its key. Parameters: its columns."""
    entries = tables.entries
    return _insert(dialect, entries).on_conflict_do_nothing(index_elements=["key"]).returning(entries.c.id)


def _insert(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


@lru_cache
def free(tables: JournalTables) -> Select[Any]:
    """One row if nobody holds a lane; it cannot be taken by others before the transaction ends. Parameters:
    ``lane``, ``now``."""
    lanes = tables.lanes.c
    return (
        select(lanes.name)
        .where(lanes.name == bindparam("lane"), lanes.leased_until <= bindparam("now"))
        .with_for_update(skip_locked=True)
    )


@lru_cache
def take(tables: JournalTables) -> Update:
    """Hold a lane from now on, whoever held it before. Parameters: ``lane``, ``owner``, ``leased_until``."""
    lanes = tables.lanes
    return (
        update(lanes)
        .where(lanes.c.name == bindparam("lane"))
        .values(
            owner=bindparam("owner"),
            leased_until=bindparam("leased_until"),
            generation=lanes.c.generation + 1,
        )
        .returning(lanes.c.generation)
    )


@lru_cache
def extend(tables: JournalTables) -> Update:
    """Hold a lane longer; no row: it is held by somebody else. Parameters: ``lane``, ``held``,
    ``leased_until``."""
    lanes = tables.lanes
    return (
        update(lanes)
        .where(lanes.c.name == bindparam("lane"), lanes.c.generation == bindparam("held"))
        .values(leased_until=bindparam("leased_until"))
        .returning(lanes.c.control)
    )


@lru_cache
def pending(tables: JournalTables) -> Select[Any]:
    """What a lane has to do, in order. Parameters: ``of_lane``, ``most``."""
    entries = tables.entries
    return (
        select(entries)
        .where(entries.c.lane == bindparam("of_lane"), entries.c.closed_at.is_(None))
        .order_by(entries.c.id)
        .limit(bindparam("most"))
    )


@lru_cache
def due(tables: JournalTables) -> Select[Any]:
    """The oldest that a lane has to do, if it is due by ``now``: what is not, however large, is not read.
    Parameters: ``of_lane``, ``now``."""
    entries, older = tables.entries, tables.entries.alias("older")
    oldest = (
        select(older.c.id)
        .where(older.c.lane == bindparam("of_lane"), older.c.closed_at.is_(None))
        .order_by(older.c.id)
        .limit(1)
        .scalar_subquery()
    )
    return select(entries).where(entries.c.id == oldest, entries.c.due_at <= bindparam("now"))


@lru_cache
def count_pending(tables: JournalTables) -> Select[Any]:
    """How many entries are pending, as ``waiting``. Parameter: ``most``, the number to which it counts."""
    entries = tables.entries.c
    some = select(entries.id).where(entries.closed_at.is_(None)).limit(bindparam("most")).subquery()
    return select(func.count().label("waiting")).select_from(some)


@lru_cache
def entry(tables: JournalTables) -> Select[Any]:
    """One, whatever its state. Parameter: ``entry_id``."""
    return select(tables.entries).where(tables.entries.c.id == bindparam("entry_id"))


@lru_cache
def begin(tables: JournalTables) -> Update:
    """Count an attempt. Parameter: ``entry_id``."""
    attempts = tables.entries.c.attempts
    return change_entry(tables).values(attempts=attempts + 1).returning(attempts)


@lru_cache
def forgive(tables: JournalTables, *, lost: bool) -> Update:
    """Take an attempt back; where its lane was ``lost``, only once in a row. Parameters: ``entry_id``, and
    ``now`` if ``lost``."""
    entries = tables.entries.c
    fewer = change_entry(tables).where(entries.attempts > 0).values(attempts=entries.attempts - 1)
    if not lost:
        return fewer
    # What was put off by now has a reason of its own.
    return fewer.where(entries.reason != LOST, entries.due_at <= bindparam("now")).values(reason=LOST)


@lru_cache
def change_entry(tables: JournalTables) -> Update:
    """Of one that is pending. Parameters: ``entry_id``, and the columns that change."""
    entries = tables.entries
    return update(entries).where(entries.c.id == bindparam("entry_id"), _one_of(entries.c.state, PENDING))


@lru_cache
def parts_of(tables: JournalTables) -> Select[Any]:
    """An answer, in order. Parameter: ``of_entry``."""
    parts = tables.parts
    return select(parts).where(parts.c.entry_id == bindparam("of_entry")).order_by(parts.c.number)


@lru_cache
def unfinished_parts(tables: JournalTables) -> Select[Any]:
    """One row if something of an answer is still to be sent. Parameter: ``of_entry``."""
    parts = tables.parts.c
    return (
        select(parts.id)
        .where(parts.entry_id == bindparam("of_entry"), _one_of(parts.state, UNFINISHED))
        .limit(1)
    )


@lru_cache
def add_part(tables: JournalTables) -> Insert:
    """A part, and its row. Parameters: its columns."""
    return insert(tables.parts).returning(tables.parts)


@lru_cache
def rewrite_part(tables: JournalTables) -> Update:
    """Parameters: ``part_id``, and the columns that change."""
    parts = tables.parts
    return update(parts).where(parts.c.id == bindparam("part_id")).returning(parts)


@lru_cache
def move_part(tables: JournalTables, state: PartState) -> Update:
    """Of one that is not finished, or is already as it shall be: whoever did not hear that it was stored says
    it once more. Parameters: ``part_id``, and the columns that change."""
    return rewrite_part(tables).where(_one_of(tables.parts.c.state, (*UNFINISHED, state)))
