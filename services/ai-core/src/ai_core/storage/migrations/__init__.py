"""The database's schema, step by step; ``upgrade`` takes a database to the newest step."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL

from ai_core.storage.database import Database
from ai_core.storage.tables import metadata
from servicekit.storage import migrating
from servicekit.storage.migrating import MIGRATION_SECONDS, Schema

SCHEMA = Schema(metadata, versions=Path(__file__).parent / "versions", lock_number=0x6E656F)


async def upgrade(url: URL) -> str | None:
    """Take the schema of a database to the newest revision.

    Returns:
        The revision, if there was anything to do.

    Raises:
        StorageUnavailable: the database is down.
    """
    database = Database(url, command_seconds=MIGRATION_SECONDS)
    try:
        return await migrating.upgrade(database, SCHEMA)
    finally:
        await database.close()
