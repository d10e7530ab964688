"""The database's schema, step by step; ``upgrade`` takes a database to the newest step."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection, text

from ai_core.storage.database import Database

HERE = Path(__file__).parent
MIGRATION_SECONDS = 600.0
"""For one statement, or until another replica has migrated."""
LOCK_NUMBER = 0x6E656F  # "neo"
"""PostgreSQL's advisory lock that one replica holds while it migrates."""


def configuration() -> Config:
    """Alembic's configuration; there is no alembic.ini."""
    config = Config()
    # A % in the path would be taken for a reference.
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


async def upgrade(url: URL) -> str | None:
    """Take the schema of a database to the newest revision, all in one transaction.

    Returns the revision if there was anything to do.

    Several replicas may start at once: the first does the work, the others wait and find it done.

    Raises:
        StorageUnavailable: the database is down.
    """
    database = Database(url, command_seconds=MIGRATION_SECONDS)
    try:
        async with database.writing() as connection:
            return await connection.run_sync(_upgrade)
    finally:
        await database.close()


def _upgrade(connection: Connection) -> str | None:
    if connection.dialect.name == "postgresql":
        # Ends with the transaction. In SQLite, the transaction is a lock already.
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})
    # It tells at every start how it works.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    before = _revision(connection)
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    after = _revision(connection)
    return None if after == before else after


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
