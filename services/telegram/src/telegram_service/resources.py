"""Settings become resources: one function for each, and nothing happens before it is called."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from telegram import Bot
from telegram.request import HTTPXRequest

from servicekit.ai_core.client import AiCore, key_in
from servicekit.documents.port import Limits as DocumentLimits
from servicekit.hot_state import HotState, open_hot_state
from servicekit.journal.journal import now_in_utc
from servicekit.key_value.limits import Limits
from servicekit.logging import get_logger
from servicekit.storage.database import COMMAND_SECONDS, Database, database_url
from servicekit.storage.migrating import MIGRATION_SECONDS, upgrade
from servicekit.storage.sealing import Seal, seal_for
from servicekit.storage.secret_file import kept_secret
from telegram_service.allowance import Allowance, Rules
from telegram_service.answering.asking import Persona, Thresholds
from telegram_service.answering.prompts import load_prompts
from telegram_service.answering.tools import Policy
from telegram_service.config import Settings
from telegram_service.dialogue.decide import House
from telegram_service.hot_keys import HotKeys
from telegram_service.storage.migrations import SCHEMA

CONNECTIONS = 64
REDIS_SECONDS = 0.3
"""Nobody waits longer for a Redis that is away; on a busy machine, one that is there may take as long."""
SEAL_PURPOSE = "telegram"

log = get_logger(__name__)


def database_of(settings: Settings, *, command_seconds: float | None = None) -> Database:
    """Raises DatabaseAddressError."""
    password = settings.db_password.get_secret_value() if settings.db_password else None
    url = database_url(settings.database_url.get_secret_value(), settings.db_user, password)
    return Database(url, command_seconds=command_seconds or COMMAND_SECONDS, in_loop=True)


async def migrate(settings: Settings) -> None:
    """Bring the database up to date. Raises StorageUnavailable, DatabaseAddressError."""
    database = database_of(settings, command_seconds=MIGRATION_SECONDS)
    try:
        if (revision := await upgrade(database, SCHEMA)) is not None:
            log.info("database migrated", revision=revision)
    finally:
        await database.close()


def bot_of(settings: Settings) -> Bot:
    """The bot; no call is made yet."""
    request = HTTPXRequest(
        CONNECTIONS, read_timeout=20.0, pool_timeout=10.0, httpx_kwargs={"trust_env": False}
    )
    return Bot(
        settings.telegram_bot_token.get_secret_value(),
        base_url=f"{settings.telegram_api_url}/bot",
        base_file_url=f"{settings.telegram_api_url}/file/bot",
        request=request,
    )


def secret_of(settings: Settings) -> str | None:
    """SECRET_KEY, or what ``make run`` has made in its place. Raises SecretFileError."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    return kept_secret(settings.local_secret_path)


def seal_of(settings: Settings) -> Seal:
    """Keeps what people write unreadable in the database. Raises SecretFileError."""
    old = [each.get_secret_value() for each in settings.secret_key_old]
    return seal_for(SEAL_PURPOSE, secret_of(settings), old)


def bot_id_of(settings: Settings) -> int:
    """The bot's number, with which its token begins; 0: it does not."""
    number = settings.telegram_bot_token.get_secret_value().partition(":")[0]
    return int(number) if number.isascii() and number.isdecimal() else 0


def ai_core_of(settings: Settings) -> AiCore:
    """The AI core, with the key of the settings or that of a core on this machine."""
    given = settings.ai_api_key
    key = given.get_secret_value() if given is not None else key_in(settings.local_key_path)
    return AiCore(settings.ai_api_url, key, ca_file=settings.ai_api_ca_file)


def hot_state_of(
    settings: Settings, bot_id: int, on_failure: Callable[[], None]
) -> AbstractAsyncContextManager[HotState]:
    """What may be lost: in Redis, else in this process."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else None
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    return open_hot_state(
        url,
        password,
        prefix=f"neo:telegram:{bot_id}:",
        on_failure=on_failure,
        redis_seconds=REDIS_SECONDS,
    )


def allowance_of(settings: Settings, limits: Limits, seal: Seal) -> Allowance:
    """How much people may do."""
    rules = Rules(
        settings.max_messages_per_minute,
        settings.max_messages_per_minute_overall,
        settings.max_tokens_per_day,
    )
    return Allowance(limits, HotKeys(seal), rules, now_in_utc)


def policy_of(settings: Settings) -> Policy:
    """Who may use the bot, and how it answers. Raises PromptError."""
    return Policy(
        house=House(settings.retention_days),
        persona=Persona(
            load_prompts(settings.prompts_path),
            settings.max_conversation_length,
            settings.max_conversation_characters,
            settings.default_model,
            settings.max_document_characters,
        ),
        processing_timeout=timedelta(seconds=settings.processing_timeout),
        thresholds=Thresholds(settings.short_answers_from, settings.no_edits_from),
        allowed=settings.allowed_users,
        admins=settings.admin_users,
    )


def document_limits_of(settings: Settings) -> DocumentLimits:
    """What one document may take."""
    return DocumentLimits(
        input_bytes=settings.max_file_size,
        characters=settings.max_document_characters,
        pages=settings.max_document_pages,
        seconds=settings.document_timeout,
    )
