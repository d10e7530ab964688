"""The statements that decide who may work on what. They mean the same in SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Delete, Select, Update, bindparam, delete, exists, select, update

from servicekit.journal.records import UNFINISHED, EntryState
from servicekit.journal.tables import JournalTables


@lru_cache
def claimable(tables: JournalTables) -> Select[Any]:
    """The lane that nobody holds and whose oldest pending entry is due by some moment; the longest waiting
    first. It is asked with each message and in between, so it is built once; ``now`` and ``due_by`` are its
    parameters.

    An entry that is put off holds up those behind it: the order within a lane is kept.
    """
    lanes, entries = tables.lanes.c, tables.entries.c
    older = tables.entries.alias("older")
    return (
        select(lanes.name)
        .join_from(tables.entries, tables.lanes, entries.lane == lanes.name)
        .where(
            entries.closed_at.is_(None),
            entries.due_at <= bindparam("due_by"),
            lanes.leased_until <= bindparam("now"),
            ~exists().where(
                older.c.lane == entries.lane, older.c.closed_at.is_(None), older.c.id < entries.id
            ),
        )
        .order_by(entries.id)
        .limit(1)
        # Two workers at once take two lanes; in SQLite, the transaction is exclusive already.
        .with_for_update(skip_locked=True, of=tables.lanes)
    )


def free(tables: JournalTables, lane: str, now: datetime) -> Select[Any]:
    """One row if nobody holds a lane; it cannot be taken by others before the transaction ends."""
    lanes = tables.lanes.c
    return (
        select(lanes.name)
        .where(lanes.name == lane, lanes.leased_until <= now)
        .with_for_update(skip_locked=True)
    )


def take(tables: JournalTables, lane: str, owner: str, until: datetime) -> Update:
    """Hold a lane from now on, whoever held it before."""
    lanes = tables.lanes
    return (
        update(lanes)
        .where(lanes.c.name == lane)
        .values(owner=owner, leased_until=until, generation=lanes.c.generation + 1)
        .returning(lanes.c.generation)
    )


def extend(tables: JournalTables, lane: str, generation: int, until: datetime) -> Update:
    """Hold a lane longer; no row: it is held by somebody else."""
    lanes = tables.lanes
    return (
        update(lanes)
        .where(lanes.c.name == lane, lanes.c.generation == generation)
        .values(leased_until=until)
        .returning(lanes.c.control)
    )


def pending(tables: JournalTables, lane: str) -> Select[Any]:
    """What a lane has to do, in order."""
    entries = tables.entries
    return select(entries).where(entries.c.lane == lane, entries.c.closed_at.is_(None)).order_by(entries.c.id)


def unfinished_parts(tables: JournalTables, entry_id: int) -> Select[Any]:
    """One row if something of an answer is still to be sent."""
    parts = tables.parts.c
    return select(parts.id).where(parts.entry_id == entry_id, parts.state.in_(UNFINISHED)).limit(1)


def closed_before(tables: JournalTables, moment: datetime) -> Delete:
    """What is over since then; the dead stay until an operator has seen them."""
    entries = tables.entries.c
    return delete(tables.entries).where(entries.closed_at < moment, entries.state != EntryState.DEAD)
