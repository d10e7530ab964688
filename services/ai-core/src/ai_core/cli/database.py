"""``ai-core database``: copy it, import and export what is in it."""

from __future__ import annotations

import argparse
import asyncio
import os

from ai_core.access.transfer import AccessRecords
from ai_core.cli.terminal import ENV_FILE, complain
from ai_core.config import Settings
from ai_core.storage.migrations import SCHEMA
from servicekit.settings import SettingsError
from servicekit.storage import commands as shared
from servicekit.storage.database import Database, DatabaseAddressError, StorageUnavailable
from servicekit.storage.migrating import MIGRATION_SECONDS

EMBEDDED = "sqlite:///var/ai-core.db"
EXIT_AWAY = 1


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and those below it."""
    shared.add_commands(commands, EMBEDDED)


def run(options: argparse.Namespace) -> int:
    """One of them. Returns 0, 1 if not all could be done, 2 if the settings do not allow it."""
    try:
        return asyncio.run(_run(options, Settings.load(os.environ, ENV_FILE)))
    except SettingsError as error:
        return complain(*error.lines)
    except DatabaseAddressError as error:
        return complain(str(error))
    except StorageUnavailable:
        return complain(
            "The database cannot be used: check DATABASE_URL, DB_USER and DB_PASSWORD, and that it runs.",
            status=EXIT_AWAY,
        )


async def _run(options: argparse.Namespace, settings: Settings) -> int:
    if options.action == "copy":
        return await shared.copy_as_asked(options, settings, SCHEMA)
    database = Database(shared.address_of(settings), command_seconds=MIGRATION_SECONDS)
    try:
        return await shared.transfer_as_asked(options, database, SCHEMA, AccessRecords())
    finally:
        await database.close()
