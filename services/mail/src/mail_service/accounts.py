"""The accounts that are watched and answered from: one by the settings, or several by a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr, ValidationError

from mail_service.config import Settings
from servicekit.settings import SettingsError

MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """Where access tokens come from (RFC 6749, section 6)."""

    token_url: str
    client_id: str
    client_secret: SecretStr | None
    refresh_token: SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One mailbox of ours, and the server that its answers go out through."""

    address: str
    """Lower case; also its name in the journal."""
    aliases: tuple[str, ...]
    domain: str
    """Of the Message-IDs of its answers."""
    folders: tuple[str, ...]
    imap_host: str
    imap_port: int
    imap_ssl: bool
    imap_username: str
    password: SecretStr | None
    oauth: OAuth | None
    check_interval: float
    """Seconds."""
    smtp_host: str
    smtp_port: int
    smtp_ssl: bool
    smtp_username: str
    smtp_password: SecretStr | None
    envelope_sender: str
    ca_file: Path | None

    @property
    def ours(self) -> frozenset[str]:
        """Every address that leads to this mailbox, and the one from which it sends."""
        return frozenset({self.address, *self.aliases, self.envelope_sender})


def accounts_of(settings: Settings) -> tuple[Account, ...]:
    """At least one account. Raises SettingsError."""
    if settings.accounts_path is None:
        return (_account(settings),)
    accounts = tuple(_account(one) for one in _read(settings, settings.accounts_path))
    addresses = [account.address for account in accounts]
    if len(set(addresses)) < len(addresses):
        raise SettingsError([f"{settings.accounts_path} has an account twice."])
    return accounts


def _read(settings: Settings, path: Path) -> list[Settings]:
    """The settings anew for each account: what its entry says goes before what they say for all."""
    try:
        with path.open("rb") as file:
            entries = msgspec.json.decode(file.read(MAX_FILE_BYTES), type=list[dict[str, Any]])
    except OSError as error:
        raise SettingsError(
            [f"ACCOUNTS_PATH names {path}, which cannot be read ({error.strerror})."]
        ) from error
    except msgspec.DecodeError as error:
        raise SettingsError([f"{path}: expected a list of accounts, as JSON."]) from error
    if not entries:
        raise SettingsError([f"{path} names no account."])
    shared = settings.model_dump()
    found = []
    for number, entry in enumerate(entries, start=1):
        where = f"{path}, account {number}"
        if unknown := sorted(set(entry) - _OF_ACCOUNT):
            raise SettingsError([f"{where}: there is no {unknown[0]}."])
        try:
            found.append(Settings.model_validate(shared | _with_secrets(entry, path)))
        except ValidationError as error:
            names = sorted({str(problem["loc"][0]) if problem["loc"] else "" for problem in error.errors()})
            raise SettingsError([f"{where}: {' '.join(names)} cannot be used."]) from error
        except OSError as error:
            raise SettingsError([f"{where}: a password file cannot be read ({error.strerror})."]) from error
    return found


_SECRETS = frozenset({"email_password", "smtp_password", "oauth_client_secret", "oauth_refresh_token"})
_OF_ACCOUNT = (
    _SECRETS
    | {f"{name}_file" for name in _SECRETS}
    | {
        *(
            "email_address",
            "email_domain",
            "email_aliases",
            "email_check_interval",
            "envelope_sender",
            "ca_file",
        ),
        *("imap_host", "imap_port", "imap_ssl", "imap_username", "imap_folder"),
        *("smtp_host", "smtp_port", "smtp_ssl", "smtp_username", "oauth_token_url", "oauth_client_id"),
    }
)


def _with_secrets(entry: dict[str, Any], path: Path) -> dict[str, Any]:
    """``email_password_file`` and the like name files, seen from the folder of this one."""
    values = {name: value for name, value in entry.items() if name.removesuffix("_file") not in _SECRETS}
    for name in _SECRETS:
        if name in entry:
            values[name] = entry[name]
        elif f"{name}_file" in entry:
            values[name] = (path.parent / str(entry[f"{name}_file"])).read_text().rstrip("\r\n")
    return values


def _account(settings: Settings) -> Account:
    address, imap_host = settings.email_address, settings.imap_host
    oauth = _oauth(settings)
    missing = [
        name
        for name, value in {
            "EMAIL_ADDRESS": address,
            "IMAP_HOST": imap_host,
            "EMAIL_PASSWORD": settings.email_password or oauth,
        }.items()
        if value is None
    ]
    if address is None or imap_host is None or missing:
        raise SettingsError(
            [f"{name} is missing: without it, no mailbox can be watched." for name in missing]
        )
    return Account(
        address=address,
        aliases=tuple(alias.lower() for alias in settings.email_aliases),
        domain=settings.email_domain or address.rpartition("@")[2],
        folders=settings.imap_folder,
        imap_host=imap_host,
        imap_port=settings.imap_port,
        imap_ssl=settings.imap_ssl,
        imap_username=settings.imap_username or address,
        password=settings.email_password,
        oauth=oauth,
        check_interval=settings.email_check_interval,
        smtp_host=settings.smtp_host or imap_host,
        smtp_port=settings.smtp_port,
        smtp_ssl=settings.smtp_ssl,
        smtp_username=settings.smtp_username or address,
        smtp_password=settings.smtp_password or settings.email_password,
        envelope_sender=settings.envelope_sender or address,
        ca_file=settings.ca_file,
    )


def _oauth(settings: Settings) -> OAuth | None:
    if settings.oauth_refresh_token is None:
        return None
    if settings.oauth_token_url is None or settings.oauth_client_id is None:
        raise SettingsError(["OAUTH_REFRESH_TOKEN needs OAUTH_TOKEN_URL and OAUTH_CLIENT_ID."])
    return OAuth(
        token_url=settings.oauth_token_url,
        client_id=settings.oauth_client_id,
        client_secret=settings.oauth_client_secret,
        refresh_token=settings.oauth_refresh_token,
    )
