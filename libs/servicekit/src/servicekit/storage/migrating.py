"""A database's schema, step by step: takes it to the newest one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, text

from servicekit.storage.database import Database, DatabaseAddressError

ENVIRONMENT = Path(__file__).parent / "alembic_environment"
MIGRATION_SECONDS = 600.0
"""For one statement, or until another replica has migrated: what a database that is migrated takes as its
``command_seconds``."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a service's database looks like, and how it came there."""

    metadata: MetaData
    versions: Path
    """The folder of its migrations."""
    lock_number: int
    """PostgreSQL's advisory lock that one replica holds while it migrates."""


class SchemaTooNew(DatabaseAddressError):
    """A later version has left the database; this one cannot know what is in it. The text says what to do."""


def configuration(schema: Schema) -> Config:
    """Alembic's configuration; there is no alembic.ini."""
    config = Config()
    # A % in the path would be taken for a reference.
    config.set_main_option("script_location", str(ENVIRONMENT).replace("%", "%%"))
    config.set_main_option("version_locations", str(schema.versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["metadata"] = schema.metadata
    return config


async def upgrade(database: Database, schema: Schema) -> str | None:
    """Take the schema of a database to the newest revision, all in one transaction.

    Several replicas may start at once: the first does the work, the others wait and find it done.

    Returns:
        The revision, if there was anything to do.

    Raises:
        StorageUnavailable: the database is down.
        SchemaTooNew: it was left by a later version than this one; nothing was changed.
    """
    async with database.writing() as connection:
        return await connection.run_sync(_upgrade, schema)


def _upgrade(connection: Connection, schema: Schema) -> str | None:
    if connection.dialect.name == "postgresql":
        # Ends with the transaction. In SQLite, the transaction is a lock already.
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": schema.lock_number})
    # It tells at every start how it works.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    before = _revision(connection)
    config = configuration(schema)
    if before is not None:
        _check_known(config, before)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    after = _revision(connection)
    return None if after == before else after


def _check_known(config: Config, revision: str) -> None:
    """Raises SchemaTooNew: no step of this version leads to it."""
    try:
        ScriptDirectory.from_config(config).get_revision(revision)
    except CommandError:
        raise SchemaTooNew(
            f"DATABASE_URL: the database has the schema {revision}, which a later version has made. Start "
            "that version, or bring back the backup from before the upgrade (deploy/README.md)."
        ) from None


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
