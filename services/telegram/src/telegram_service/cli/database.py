"""``telegram-service database``: copy it, import and export what is in it."""

from __future__ import annotations

import argparse

from servicekit.storage import commands as shared
from servicekit.storage.database import Database
from servicekit.storage.migrating import MIGRATION_SECONDS
from telegram_service.config import Settings
from telegram_service.resources import seal_of
from telegram_service.storage.migrations import SCHEMA
from telegram_service.storage.transfer import TelegramRecords

EMBEDDED = "sqlite:///var/telegram.db"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and those below it."""
    shared.add_commands(commands, EMBEDDED)


async def run(options: argparse.Namespace, settings: Settings) -> int:
    """One of them; returns the exit status.

    Raises:
        DatabaseAddressError, StorageUnavailable, SecretFileError: as the names say.
    """
    if options.action == "copy":
        return await shared.copy_as_asked(options, settings, SCHEMA)
    database = Database(shared.address_of(settings), command_seconds=MIGRATION_SECONDS)
    try:
        return await shared.transfer_as_asked(options, database, SCHEMA, TelegramRecords(seal_of(settings)))
    finally:
        await database.close()
