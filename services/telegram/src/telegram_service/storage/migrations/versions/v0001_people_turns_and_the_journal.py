"""People, what was said, and the journal of messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
# SQLite numbers rows by itself only where the type is exactly INTEGER.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    _people()
    _journal()


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("banned", sa.Boolean(), nullable=False),
        sa.Column("reachable", sa.Boolean(), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("last_seen", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
    )
    op.create_table(
        "turns",
        sa.Column("entry_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("lane", sa.String(200), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("conversation", sa.Integer(), nullable=False),
        sa.Column("question", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="pk_turns"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_turns_person_id", ondelete="CASCADE"),
    )
    op.create_index("ix_turns_lane", "turns", ["lane", "conversation", "entry_id"])
    op.create_index("ix_turns_person_id", "turns", ["person_id"])
    op.create_table(
        "conversations",
        sa.Column("lane", sa.String(200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("last_used", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("lane", name="pk_conversations"),
    )


def _journal() -> None:
    op.create_table(
        "lanes",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("leased_until", MOMENT, nullable=False),
        sa.Column("control", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lanes"),
    )
    op.create_table(
        "entries",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("lane", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
        sa.UniqueConstraint("key", name="uq_entries_key"),
        sa.ForeignKeyConstraint(["lane"], ["lanes.name"], name="fk_entries_lane", ondelete="CASCADE"),
    )
    pending = sa.text("closed_at IS NULL")
    op.create_index(
        "ix_entries_pending", "entries", ["lane", "id"], sqlite_where=pending, postgresql_where=pending
    )
    op.create_index("ix_entries_closed_at", "entries", ["closed_at"])
    op.create_table(
        "parts",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("entry_id", NUMBER, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("external_id", sa.String(300), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_parts"),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name="fk_parts_entry_id", ondelete="CASCADE"),
        sa.UniqueConstraint("entry_id", "number", name="uq_parts_entry_id"),
    )
    op.create_index("ix_parts_state", "parts", ["state"])
