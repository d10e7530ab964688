"""The tables. A change here needs a migration beside it, in ``migrations/versions``.

Addresses and Message-IDs are names of a seal here (``Seal.name``): they can be looked up by whoever knows
them, and read by nobody. What people wrote is sealed.
"""

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
    UniqueConstraint,
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

# SQLite numbers rows by itself only where the type is exactly INTEGER.
_Number = BigInteger().with_variant(Integer(), "sqlite")

letters = Table(
    "letters",
    metadata,
    Column("id", _Number, primary_key=True),
    # Of the entry that came in, also for the answer to it.
    Column("entry_id", BigInteger, nullable=False, info={NUMBER_OF: "entries.id"}),
    Column("outgoing", Boolean, nullable=False),
    Column("message_name", String(64), nullable=False),
    Column("thread", String(64), nullable=False),
    Column("person", String(64), nullable=False),
    # Whether the model reads it again: what was answered, and the answer.
    Column("shown", Boolean, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("at", Moment, nullable=False),
    UniqueConstraint("entry_id", "outgoing"),
)
Index("ix_letters_message_name", letters.c.message_name)
Index("ix_letters_thread", letters.c.thread, letters.c.at)
Index("ix_letters_person", letters.c.person, letters.c.at)
Index("ix_letters_at", letters.c.at)

steps = Table(
    "steps",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("entry_id", ForeignKey("entries.id", ondelete="CASCADE"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("step", String(32), nullable=False),
    Column("reason", String(200), nullable=False),
    # Pairs of a rule and its outcome.
    Column("rules", JSON, nullable=False),
)
Index("ix_steps_entry_id", steps.c.entry_id, steps.c.id)
Index("ix_steps_at", steps.c.at)

allowances = Table(
    "allowances",
    metadata,
    # A mail that is tried again needs no second one.
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False, info={NUMBER_OF: "entries.id"}),
    Column("person", String(64), nullable=False),
    # Whether others got the mail as well.
    Column("shared", Boolean, nullable=False),
    Column("at", Moment, nullable=False),
)
Index("ix_allowances_person", allowances.c.person, allowances.c.at)
Index("ix_allowances_at", allowances.c.at)

cursors = Table(
    "cursors",
    metadata,
    Column("folder", String(300), primary_key=True),
    Column("uid_validity", BigInteger, nullable=False),
    Column("uid", BigInteger, nullable=False),
)

switches = Table(
    "switches",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("since", Moment, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
