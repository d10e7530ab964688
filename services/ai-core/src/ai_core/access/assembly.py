"""Access, put together from the settings: for the server and for ``ai-core keys``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import URL

from ai_core.access.administration import KeyAdministration
from ai_core.access.authenticator import Authenticator, Rules
from ai_core.access.usage import UsageLedger
from ai_core.config import Settings
from ai_core.storage.database import Database
from ai_core.storage.keys import KeyRepository
from ai_core.storage.migrations import upgrade
from ai_core.storage.usage import UsageRepository
from servicekit.storage.database import database_url


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in, and where that is written."""

    database: Database
    keys: KeyAdministration
    authenticator: Authenticator
    usage: UsageLedger
    """To be told of answers; writes while ``usage.writing()`` is entered."""
    key_header: str
    """Where keys are sent, beside ``Authorization``."""
    default_per_minute: int
    """Requests per minute of new keys that are given no limit of their own; 0: none."""


async def migrate(settings: Settings) -> str | None:
    """Give the database the newest schema. Returns its revision if it was not there before.

    Raises:
        DatabaseAddressError, StorageUnavailable: as the names say.
    """
    return await upgrade(_url(settings))


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database, which has the newest schema already. Raises DatabaseAddressError."""
    database = Database(_url(settings))
    try:
        yield database
    finally:
        await database.close()


def _url(settings: Settings) -> URL:
    password = settings.db_password.get_secret_value() if settings.db_password else None
    return database_url(settings.database_url.get_secret_value(), settings.db_user, password)


def access_over(database: Database, settings: Settings) -> Access:
    """Access over a database that is open."""
    repository = KeyRepository(database)
    rules = Rules(settings.api_key_header.lower().encode("ascii"), settings.trusted_proxies)
    return Access(
        database=database,
        keys=KeyAdministration(repository),
        authenticator=Authenticator(repository, rules),
        usage=UsageLedger(UsageRepository(database)),
        key_header=settings.api_key_header,
        default_per_minute=settings.rate_limit_per_minute,
    )
