"""What the database holds, room by room, opened with the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mail_service.answering.envelopes import Envelopes
from mail_service.answering.exporting import SealedPayloads
from mail_service.answering.words_of_decisions import OVER_LIMIT
from mail_service.config import Settings
from mail_service.keeping import Keeper
from mail_service.pausing import PausableJournal
from mail_service.storage.allowances import Allowances, HourlyLimits
from mail_service.storage.correspondence import Correspondence
from mail_service.storage.cursors import Cursors
from mail_service.storage.migrations import SCHEMA
from mail_service.storage.names import Names, load_names
from mail_service.storage.switches import Switches
from mail_service.storage.tables import journal as journal_tables
from mail_service.storage.ways import Ways
from servicekit.journal.journal import Journal, now_in_utc
from servicekit.journal.ledger import Ledger
from servicekit.logging import get_logger
from servicekit.storage.database import COMMAND_SECONDS, Database, database_url
from servicekit.storage.migrating import MIGRATION_SECONDS, upgrade
from servicekit.storage.sealing import Seal, seal_for
from servicekit.storage.secret_file import kept_secret

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Records:
    """What the database holds, room by room."""

    database: Database
    journal: Journal
    ledger: Ledger
    envelopes: Envelopes
    correspondence: Correspondence
    allowances: Allowances
    cursors: Cursors
    switches: Switches
    names: Names
    ways: Ways
    keeper: Keeper


def database_of(settings: Settings, *, command_seconds: float | None = None) -> Database:
    """SQLite works in threads here, also for a glance: a mail may be so large that each statement on it, even
    one that only puts it off, takes a second. Raises DatabaseAddressError."""
    password = settings.db_password.get_secret_value() if settings.db_password else None
    url = database_url(settings.database_url.get_secret_value(), settings.db_user, password)
    return Database(url, command_seconds=command_seconds or COMMAND_SECONDS, at_once=False)


async def migrate(settings: Settings) -> None:
    """Bring the database up to date. Raises StorageUnavailable, DatabaseAddressError."""
    database = database_of(settings, command_seconds=MIGRATION_SECONDS)
    try:
        if (revision := await upgrade(database, SCHEMA)) is not None:
            log.info("database migrated", revision=revision)
    finally:
        await database.close()


def seal_of(settings: Settings) -> Seal:
    """Keeps mails unreadable in the database. Raises SecretFileError."""
    secret = settings.secret_key.get_secret_value() if settings.secret_key else None
    old = [each.get_secret_value() for each in settings.secret_key_old]
    return seal_for("mail", secret or kept_secret(settings.local_secret_path), old)


@asynccontextmanager
async def open_records(settings: Settings) -> AsyncIterator[Records]:
    """What is kept, over a migrated database. Raises StorageUnavailable, Unreadable, DatabaseAddressError,
    SecretFileError."""
    database = database_of(settings)
    try:
        seal = seal_of(settings)
        names = await load_names(database, seal)
        switches, ways = Switches(database, now_in_utc), Ways(database, now_in_utc)
        correspondence = Correspondence(database, seal, names, now_in_utc)
        limits = HourlyLimits(
            of_all=settings.max_emails_per_hour,
            of_person=settings.max_sender_emails_per_hour,
            of_shared=settings.max_shared_emails_per_hour,
        )
        allowances = Allowances(database, limits, now_in_utc)
        ledger, envelopes = Ledger(database, journal_tables, limits=[OVER_LIMIT]), Envelopes(seal)
        yield Records(
            database=database,
            journal=PausableJournal(database, journal_tables, switches=switches),
            ledger=ledger,
            envelopes=envelopes,
            correspondence=correspondence,
            allowances=allowances,
            cursors=Cursors(database),
            switches=switches,
            names=names,
            ways=ways,
            keeper=Keeper(
                database, correspondence, allowances, ways, ledger, names, SealedPayloads(envelopes)
            ),
        )
    finally:
        await database.close()
