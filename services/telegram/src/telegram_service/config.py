"""The settings of the Telegram service: one field per environment variable, with range and default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from servicekit.ai_core.trust import CertificateFile
from servicekit.hot_state import RedisUrl
from servicekit.logging import LogFormat, LogLevel
from servicekit.settings import ServiceSettings


def _ids(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _words(value: Any) -> Any:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise ValueError("expected an address like https://example.org")
    return value.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]
Ids = Annotated[frozenset[int], BeforeValidator(_ids)]
Secret = Annotated[SecretStr, Field(min_length=16)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Settings(ServiceSettings):
    """Read once, in ``__main__``, and handed down as an argument from there."""

    prefix: ClassVar[str] = "TELEGRAM"
    own: ClassVar[frozenset[str]] = frozenset(
        {"database_url", "db_user", "db_password", "workers", "drain_timeout", "prompts_path"}
    )

    telegram_bot_token: SecretStr
    telegram_api_url: Address = "https://api.telegram.org"
    """Another Bot API server: one's own, or the emulator."""
    telegram_host: str = "127.0.0.1"
    telegram_port: Annotated[int, Field(ge=0, le=65_535)] = 8001
    webhook_url: Address | None = None
    """Where Telegram reaches this service, without the path; None: it is asked for updates."""
    webhook_secret: Annotated[SecretStr, Field(min_length=1, max_length=256)] | None = None
    """Comes back with each update; letters, digits, _ and - only."""

    ai_api_url: Address = "http://127.0.0.1:8000"
    ai_api_key: SecretStr | None = None
    ai_api_ca_file: CertificateFile | None = None
    """Certificates that are trusted besides the public authorities, where the AI core is reached by https."""
    local_key_path: Path = Path("var/local.key")
    """Used where AI_API_KEY is not set: the key of an AI core on this machine."""
    default_model: str | None = None
    """None: the AI core's default."""

    database_url: SecretStr = SecretStr("sqlite:///var/telegram.db")
    db_user: str | None = None
    db_password: SecretStr | None = None
    secret_key: Secret | None = None
    """Encrypts what people write."""
    secret_key_old: Annotated[tuple[Secret, ...], BeforeValidator(_words)] = ()
    """Keys of before: what they have encrypted can still be read."""
    local_secret_path: Path = Path("var/secret.key")
    """Used where SECRET_KEY is not set: the key that ``make run`` has made. Without either, texts are stored
    as they are."""

    redis_url: RedisUrl | None = None
    """Shared by instances: limits, pace, wake-ups. None: all of that stays in this process."""
    redis_password: SecretStr | None = None

    allowed_users: Ids = frozenset()
    """Empty: everybody."""
    admin_users: Ids = frozenset()
    max_messages_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 30
    """Of one person; as many may come at once. 0: no limit."""
    max_messages_per_minute_overall: Annotated[int, Field(ge=0, le=10_000_000)] = 6_000
    """Of all together. 0: no limit."""
    max_tokens_per_day: Annotated[int, Field(ge=0, le=10**12)] = 1_000_000
    """Read and written by the AI core for one person, by the days of UTC. 0: no limit."""
    prompts_path: Path | None = None
    """A folder with the system prompts fr.txt and en.txt; None: those of the service."""
    max_conversation_length: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Turns that the model reads again."""
    max_conversation_characters: Annotated[int, Field(ge=100, le=1_000_000)] = 12_000
    max_file_size: Annotated[int, Field(ge=1_000, le=20_000_000)] = 20_000_000
    """Bytes of what people send; Telegram gives bots no file above 20 MB."""
    max_document_characters: Annotated[int, Field(ge=500, le=1_000_000)] = 8_000
    """Of the documents of a conversation that the model reads; what is longer is cut, and that is said."""
    max_document_pages: Annotated[int, Field(ge=1, le=100_000)] = 500
    document_timeout: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Seconds in which a document, or the text of an image, has to be read."""
    session_timeout: Seconds = 3_600.0
    """Of silence, after which a new conversation begins."""
    processing_timeout: Seconds = 300.0
    """After which somebody is told that there will be no answer."""
    retention_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    workers: Annotated[int, Field(ge=1, le=256)] = 16
    """Chats that are answered at once."""
    short_answers_from: Annotated[int, Field(ge=1)] = 50
    """Waiting messages from which on answers are short."""
    no_edits_from: Annotated[int, Field(ge=1)] = 150
    """Waiting messages from which on answers are shown when they are complete."""
    drain_timeout: Seconds = 20.0

    debug: bool = False
    """Shorthand for LOG_LEVEL=debug."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"

    @model_validator(mode="after")
    def _webhook_needs_its_secret(self) -> Settings:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError(
                "WEBHOOK_SECRET is missing: without it, anybody could send updates to WEBHOOK_URL"
            )
        return self
