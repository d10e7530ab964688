"""The journal's tables, made for the schema of the service that keeps one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from servicekit.storage.types import Moment

# SQLite numbers rows by itself only where the type is exactly INTEGER.
_Number = BigInteger().with_variant(Integer(), "sqlite")


@dataclass(frozen=True, slots=True)
class JournalTables:
    """Belong together; their rows are only changed by a :class:`servicekit.journal.journal.Journal`."""

    lanes: Table
    entries: Table
    parts: Table


def journal_tables(metadata: MetaData) -> JournalTables:
    """The tables ``lanes``, ``entries`` and ``parts`` in a schema."""
    lanes = Table(
        "lanes",
        metadata,
        Column("name", String(200), primary_key=True),
        Column("generation", BigInteger, nullable=False),
        Column("owner", String(64), nullable=False),
        Column("leased_until", Moment, nullable=False),
        Column("control", String(64), nullable=False),
    )
    entries = Table(
        "entries",
        metadata,
        Column("id", _Number, primary_key=True),
        Column("key", String(300), nullable=False, unique=True),
        Column("lane", ForeignKey("lanes.name", ondelete="CASCADE"), nullable=False),
        Column("state", String(16), nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("received_at", Moment, nullable=False),
        Column("due_at", Moment, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("reason", Text, nullable=False),
        Column("closed_at", Moment),
    )
    # The queue is what is not closed: a few rows beside all that are kept.
    pending = entries.c.closed_at.is_(None)
    Index(
        "ix_entries_pending",
        entries.c.lane,
        entries.c.id,
        sqlite_where=pending,
        postgresql_where=pending,
    )
    # In order, without sorting all that waits, whatever PostgreSQL believes about how much that is.
    Index("ix_entries_queue", entries.c.id, sqlite_where=pending, postgresql_where=pending)
    Index("ix_entries_closed_at", entries.c.closed_at)
    Index("ix_entries_lane", entries.c.lane, entries.c.id)
    # What was given up and what went out twice is a few rows, too, and counted again and again.
    dead = entries.c.state == literal_column("'dead'")
    Index("ix_entries_dead", entries.c.id, sqlite_where=dead, postgresql_where=dead)
    parts = Table(
        "parts",
        metadata,
        Column("id", _Number, primary_key=True),
        Column("entry_id", ForeignKey("entries.id", ondelete="CASCADE"), nullable=False),
        Column("number", Integer, nullable=False),
        Column("state", String(16), nullable=False),
        Column("content", LargeBinary, nullable=False),
        Column("external_id", String(300), nullable=False),
        Column("repeats", Integer, nullable=False),
        UniqueConstraint("entry_id", "number"),
    )
    Index("ix_parts_state", parts.c.state)
    repeated = parts.c.repeats > literal_column("0")
    Index("ix_parts_repeated", parts.c.id, sqlite_where=repeated, postgresql_where=repeated)
    return JournalTables(lanes, entries, parts)
