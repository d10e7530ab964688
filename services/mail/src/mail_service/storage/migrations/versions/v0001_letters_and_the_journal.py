"""Letters, each mail's way, cursors, and the journal of messages."""

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
    _journal()
    _letters()
    _ways()


def _letters() -> None:
    op.create_table(
        "letters",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("outgoing", sa.Boolean(), nullable=False),
        sa.Column("message_name", sa.String(64), nullable=False),
        sa.Column("thread", sa.String(64), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_letters"),
        sa.UniqueConstraint("entry_id", "outgoing", name="uq_letters_entry_id"),
    )
    op.create_index("ix_letters_message_name", "letters", ["message_name"])
    op.create_index("ix_letters_thread", "letters", ["thread", "at"])
    op.create_index("ix_letters_person", "letters", ["person", "at"])
    op.create_index("ix_letters_at", "letters", ["at"])


def _ways() -> None:
    op.create_table(
        "steps",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("entry_id", NUMBER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("step", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_steps"),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name="fk_steps_entry_id", ondelete="CASCADE"),
    )
    op.create_index("ix_steps_entry_id", "steps", ["entry_id", "id"])
    op.create_index("ix_steps_at", "steps", ["at"])
    op.create_table(
        "allowances",
        sa.Column("entry_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="pk_allowances"),
    )
    op.create_index("ix_allowances_person", "allowances", ["person", "at"])
    op.create_index("ix_allowances_at", "allowances", ["at"])
    op.create_table(
        "cursors",
        sa.Column("folder", sa.String(300), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("folder", name="pk_cursors"),
    )
    op.create_table(
        "switches",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_switches"),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
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
