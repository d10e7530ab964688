"""The service's stores, opened for one command; the service may run meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.journal.journal import now_in_utc
from servicekit.journal.ledger import Ledger
from servicekit.storage.database import Database
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.personal_data import PersonalData
from telegram_service.config import Settings
from telegram_service.resources import allowance_of, bot_id_of, database_of, hot_state_of, migrate, seal_of
from telegram_service.storage.broadcasts import Broadcasts
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.people import People
from telegram_service.storage.tables import journal as journal_tables


@dataclass(frozen=True, slots=True)
class Office:
    """What commands work with."""

    database: Database
    ledger: Ledger
    people: People
    envelopes: Envelopes
    personal_data: PersonalData

    async def drop(self, entry_id: int) -> bool:
        """Delete a message that was given up, and what was said. False: it is not among the dead."""

        async def also(connection: AsyncConnection) -> None:
            await self.personal_data.conversations.drop(connection, entry_id)

        return await self.ledger.drop(entry_id, also=also)


@asynccontextmanager
async def open_office(settings: Settings) -> AsyncIterator[Office]:
    """Over a database that is brought up to date first; nobody calls Telegram or the AI core.

    Raises:
        StorageUnavailable, DatabaseAddressError, SecretFileError: as the parts of it.
    """
    await migrate(settings)
    async with AsyncExitStack() as stack:
        database = database_of(settings)
        stack.push_async_callback(database.close)
        hot = await stack.enter_async_context(hot_state_of(settings, bot_id_of(settings), lambda: None))
        seal = seal_of(settings)
        envelopes, ledger = Envelopes(seal), Ledger(database, journal_tables)
        people = People(database, now_in_utc)
        timeout = timedelta(seconds=settings.session_timeout)
        personal_data = PersonalData(
            database,
            people,
            Conversations(database, seal, now_in_utc, session_timeout=timeout),
            Broadcasts(database, now_in_utc),
            ledger,
            envelopes,
            allowance_of(settings, hot.limits, seal),
        )
        yield Office(database, ledger, people, envelopes, personal_data)
