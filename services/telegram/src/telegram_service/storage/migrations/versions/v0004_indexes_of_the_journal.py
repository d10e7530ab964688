"""Indexes for what is looked for among all that is kept: a lane's entries, the dead, what went out twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("ix_entries_lane", "entries", ["lane", "id"])
    dead = sa.text("state = 'dead'")
    op.create_index("ix_entries_dead", "entries", ["id"], sqlite_where=dead, postgresql_where=dead)
    repeated = sa.text("repeats > 0")
    op.create_index("ix_parts_repeated", "parts", ["id"], sqlite_where=repeated, postgresql_where=repeated)
