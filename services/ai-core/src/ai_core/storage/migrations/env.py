"""Run by Alembic, with the connection that ``upgrade`` has opened a transaction on."""

from __future__ import annotations

from alembic import context

from ai_core.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can change a column only by making the table anew.
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
