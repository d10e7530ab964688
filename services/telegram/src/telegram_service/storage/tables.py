"""The tables. A change here needs a migration beside it, in ``migrations/versions``."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from servicekit.journal.tables import journal_tables
from servicekit.storage.types import NUMBER_OF, Moment

# Alembic can only change what has a name.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)
journal = journal_tables(metadata)

people = Table(
    "people",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("settings", JSON, nullable=False),
    Column("banned", Boolean, nullable=False),
    Column("reachable", Boolean, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
)

turns = Table(
    "turns",
    metadata,
    # Of the entry that was answered: an answer that is written again takes the place of the first.
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False, info={NUMBER_OF: "entries.id"}),
    Column("lane", String(200), nullable=False),
    Column("person_id", ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("conversation", Integer, nullable=False),
    Column("question", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    # None: the question came without one.
    Column("document", LargeBinary),
    Column("at", Moment, nullable=False),
)
Index("ix_turns_lane", turns.c.lane, turns.c.conversation, turns.c.entry_id)
Index("ix_turns_person_id", turns.c.person_id)
# For an import, which asks of each turn whether it is there.
Index("ix_turns_at", turns.c.lane, turns.c.at)

conversations = Table(
    "conversations",
    metadata,
    Column("lane", String(200), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("last_used", Moment, nullable=False),
)

broadcasts = Table(
    "broadcasts",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    # Of the command: handled twice, it makes one broadcast.
    Column("key", String(300), nullable=False, unique=True),
    Column("admin_id", BigInteger, nullable=False),
    Column("language", String(8), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    # Of those it is for, by what became of it; filled in when it is over.
    Column("counts", JSON, nullable=False),
    Column("at", Moment, nullable=False),
)
Index("ix_broadcasts_state", broadcasts.c.state)

recipients = Table(
    "recipients",
    metadata,
    Column("broadcast_id", ForeignKey("broadcasts.id", ondelete="CASCADE"), primary_key=True),
    Column("person_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
)
Index("ix_recipients_state", recipients.c.broadcast_id, recipients.c.state, recipients.c.person_id)
Index("ix_recipients_person_id", recipients.c.person_id)
