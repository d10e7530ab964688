"""Access, put together from the settings: for the server and for ``ai-core keys``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ai_core.access.administration import KeyAdministration
from ai_core.access.authenticator import Authenticator, Rules
from ai_core.config import Settings
from ai_core.storage.database import Database, database_url
from ai_core.storage.keys import KeyRepository
from ai_core.storage.migrations import upgrade


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in, and where that is written."""

    database: Database
    keys: KeyAdministration
    authenticator: Authenticator


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database, with the newest schema. Raises DatabaseAddressError, StorageUnavailable."""
    password = settings.db_password.get_secret_value() if settings.db_password else None
    database = Database(database_url(settings.database_url.get_secret_value(), settings.db_user, password))
    try:
        await upgrade(database)
        yield database
    finally:
        await database.close()


def access_over(database: Database, settings: Settings) -> Access:
    """Access over a database that is open."""
    repository = KeyRepository(database)
    rules = Rules(settings.api_key_header.lower().encode("ascii"), settings.trusted_proxies)
    return Access(database, KeyAdministration(repository), Authenticator(repository, rules))
