"""The settings of the mail service: one field per environment variable, with range and default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from servicekit.ai_core.trust import CertificateFile
from servicekit.hot_state import RedisUrl
from servicekit.logging import LogFormat, LogLevel
from servicekit.settings import ServiceSettings


def _words(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _spaced(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise ValueError("expected an address like https://example.org")
    return value.rstrip("/")


def _mail_address(value: str) -> str:
    local, at, domain = value.rpartition("@")
    if not at or not local or not domain or not value.isascii() or any(one in value for one in " <>,;\r\n"):
        raise ValueError("expected an address like neo@example.org")
    return value.lower()


Url = Annotated[str, AfterValidator(_url)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Secret = Annotated[SecretStr, Field(min_length=16)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Bytes = Annotated[int, Field(ge=1_000, le=100_000_000)]


class Settings(ServiceSettings):
    """Read once, in ``__main__``, and handed down as an argument from there."""

    prefix: ClassVar[str] = "MAIL"
    own: ClassVar[frozenset[str]] = frozenset(
        {
            *("database_url", "db_user", "db_password", "workers", "drain_timeout"),
            *("max_conversation_length", "max_conversation_characters"),
        }
    )

    # --- the mailbox ---
    email_address: MailAddress | None = None
    """The account's address, which is answered from; required unless ACCOUNTS_PATH is given."""
    email_password: SecretStr | None = None
    email_domain: str | None = None
    """In the Message-IDs of answers; None: the domain of the address."""
    email_aliases: Words = ()
    """Further addresses that lead to this mailbox: they are ours, too."""
    email_check_interval: Seconds = 30.0
    """Between two looks into a mailbox that cannot tell of new mail by itself (IDLE)."""
    imap_host: str | None = None
    imap_port: Port = 993
    imap_ssl: bool = True
    imap_username: str | None = None
    """None: EMAIL_ADDRESS."""
    imap_folder: Words = ("INBOX",)
    """Several are separated by commas."""
    smtp_host: str | None = None
    """None: IMAP_HOST."""
    smtp_port: Port = 587
    smtp_ssl: bool = True
    """STARTTLS, or TLS from the start on port 465."""
    smtp_username: str | None = None
    """None: EMAIL_ADDRESS."""
    smtp_password: SecretStr | None = None
    """None: EMAIL_PASSWORD."""
    envelope_sender: MailAddress | None = None
    """Where bounces go; None: EMAIL_ADDRESS. It must never answer by itself."""
    ca_file: Path | None = None
    """Certificates that are trusted besides those of the system."""
    oauth_token_url: Url | None = None
    """With these three, XOAUTH2 takes the place of the password."""
    oauth_client_id: str | None = None
    oauth_client_secret: SecretStr | None = None
    oauth_refresh_token: SecretStr | None = None
    accounts_path: Path | None = None
    """A JSON file with several accounts, in the place of the settings above."""

    # --- the service ---
    mail_host: str = "127.0.0.1"
    mail_port: Port = 8002
    admin_key: Secret | None = None
    """Opens /admin; None: it stays shut."""

    ai_api_url: Url = "http://127.0.0.1:8000"
    ai_api_key: SecretStr | None = None
    ai_api_ca_file: CertificateFile | None = None
    """Certificates that are trusted besides the public authorities, where the AI core is reached by https."""
    local_key_path: Path = Path("var/local.key")
    """Used where AI_API_KEY is not set: the key of an AI core on this machine."""
    default_model: str | None = None
    """None: the AI core's default."""
    default_adapter: str | None = None
    """A LoRA adapter of that model, for letters."""
    prompts_path: Path | None = None
    """A folder with the system prompts fr.txt and en.txt; None: those of the service."""

    database_url: SecretStr = SecretStr("sqlite:///var/mail.db")
    db_user: str | None = None
    db_password: SecretStr | None = None
    redis_url: RedisUrl | None = None
    """Instances wake each other there; None: this one is alone, or looks twice a second."""
    redis_password: SecretStr | None = None
    secret_key: Secret | None = None
    """Encrypts mails and answers."""
    secret_key_old: Annotated[tuple[Secret, ...], BeforeValidator(_spaced)] = ()
    """Keys of before: what they have encrypted can still be read."""
    local_secret_path: Path = Path("var/secret.key")
    """Used where SECRET_KEY is not set: the key that ``make run`` has made. Without either, mails are stored
    as they are."""

    # --- who is answered, and how ---
    allowed_senders: Words = ("*",)
    """Addresses and domains; * is everybody. Who is named must be authenticated."""
    blocked_senders: Words = ()
    urgent_senders: Words = ()
    """They are answered first."""
    authserv_id: str | None = None
    """Of the receiving server, whose Authentication-Results are believed; None: nobody's."""
    answer_bulk: Words = ()
    """Senders whose notifications and lists are answered all the same; never loops."""
    rspamd_url: Url | None = None
    spamd_address: str | None = None
    """SpamAssassin: ``host``, ``host:port``, or the path of a socket; RSPAMD_URL goes before it."""
    clamd_address: str | None = None
    """ClamAV: ``host``, ``host:port``, or the path of a socket."""
    max_email_size: Bytes = 26_214_400
    """Bytes; a larger one is not read."""
    max_attachment_size: Bytes = 10_485_760
    """Bytes."""
    max_emails_per_hour: Count = 100
    """Answers in any hour; what comes beyond waits."""
    max_sender_emails_per_hour: Count = 10
    max_shared_emails_per_hour: Count = 5
    """To one sender, of mails that others got as well."""
    max_mail_age_days: Annotated[int, Field(ge=1, le=3_650)] = 7
    """What has lain in the mailbox for longer is not answered."""
    approval: Literal["none", "drafts"] = "none"
    """drafts: answers are put into Drafts, and a person sends them."""
    brand_path: Path | None = None
    """A JSON file with name, colours, logo, signature and disclaimer; None: the default brand."""
    dkim_key_path: Path | None = None
    """A private key in PEM form; None: the SMTP server signs, or nobody."""
    dkim_selector: str = "neo"

    max_conversation_length: Annotated[int, Field(ge=0, le=100)] = 20
    """Earlier mails of a thread that the model reads again."""
    max_conversation_characters: Annotated[int, Field(ge=0, le=1_000_000)] = 12_000
    max_prompt_characters: Annotated[int, Field(ge=100, le=180_000)] = 20_000
    """Of a mail and its attachments."""
    processing_timeout: Seconds = 300.0
    """For one answer of the AI core."""
    give_up_hours: Annotated[int, Field(ge=1, le=720)] = 48
    """After which a mail that cannot be answered is a dead letter."""
    retention_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    workers: Annotated[int, Field(ge=1, le=256)] = 4
    """Threads that are answered at once."""
    drain_timeout: Seconds = 20.0

    debug: bool = False
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"

    @model_validator(mode="after")
    def _keeps_longer_than_it_answers(self) -> Settings:
        if self.max_mail_age_days > self.retention_days:
            raise ValueError(
                "MAX_MAIL_AGE_DAYS is more than RETENTION_DAYS: a mail that was answered and forgotten "
                "would be answered again if the server counted its mails anew"
            )
        return self
