"""An index for what was said in a chat at a time: an import asks for each turn whether it is there."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_turns_at", "turns", ["lane", "at"])
