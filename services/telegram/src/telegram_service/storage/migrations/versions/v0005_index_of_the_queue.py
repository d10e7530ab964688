"""An index for what waits, in the order in which it is worked on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    waits = sa.text("closed_at IS NULL")
    op.create_index("ix_entries_queue", "entries", ["id"], sqlite_where=waits, postgresql_where=waits)
