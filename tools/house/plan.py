"""Which services run, with which environment, and what people are told about it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from ai_core.cli.terminal import local_url
from mail_service.config import Settings as MailSettings
from servicekit.settings import FILE_SUFFIX, ServiceSettings, is_set
from servicekit.storage.secret_file import make_secret
from telegram_service.config import Settings as TelegramSettings

ENV_FILE = Path(".env")
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Service:
    """A program to run."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Channel:
    """A service that brings the AI core to people; it runs where its credentials are set."""

    name: str
    command: Sequence[str | Path]
    settings: type[ServiceSettings]
    needs: Sequence[str]
    """Settings without which it is off."""
    advice: str
    """How to switch it on."""


CHANNELS = (
    Channel(
        "Telegram bot",
        (BIN / "telegram-service", "run"),
        TelegramSettings,
        ("TELEGRAM_BOT_TOKEN",),
        "put TELEGRAM_BOT_TOKEN into .env; @BotFather on Telegram gives one",
    ),
    Channel(
        "mailbox",
        (BIN / "mail-service", "run"),
        MailSettings,
        ("EMAIL_ADDRESS", "IMAP_HOST"),
        "put EMAIL_ADDRESS, EMAIL_PASSWORD, IMAP_HOST and SMTP_HOST into .env",
    ),
)


class HouseSettings(ServiceSettings):
    """What the services have to agree on."""

    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    secret_key: SecretStr | None = None
    local_secret_path: Path = Path("var/secret.key")

    @property
    def core_url(self) -> str:
        """Where the AI core is for its neighbours on this machine."""
        return local_url(self.api_host, self.api_port)


@dataclass(frozen=True, slots=True)
class House:
    """All that is to run, and the words about it."""

    core: Service
    core_url: str
    channels: tuple[Service, ...]
    lines: tuple[str, ...]


def plan(
    environ: Mapping[str, str], env_file: Path = ENV_FILE, channels: Sequence[Channel] = CHANNELS
) -> House:
    """What runs with these settings. Makes SECRET_KEY's file, if there is neither.

    Raises:
        SettingsError: a setting that services share cannot be used.
        SecretFileError: the file cannot be made.
    """
    settings = HouseSettings.load(environ, env_file)
    secret_made = settings.secret_key is None and make_secret(settings.local_secret_path)
    on = [channel for channel in channels if all(is_set(name, environ, env_file) for name in channel.needs)]
    return House(
        Service("AI core", (BIN / "ai-core", "serve"), _for_core(environ, settings)),
        settings.core_url,
        tuple(_started(channel, environ, env_file, settings) for channel in on),
        (
            *(_line(channel, on=channel in on) for channel in channels),
            *([f"  new  secret key         kept in {settings.local_secret_path}"] if secret_made else []),
        ),
    )


def _line(channel: Channel, *, on: bool) -> str:
    return f"  on   {channel.name}" if on else f"  off  {channel.name:<18} ({channel.advice})"


def _for_core(environ: Mapping[str, str], settings: HouseSettings) -> dict[str, str]:
    if settings.secret_key is not None:
        return dict(environ)
    return {**environ, "SECRET_KEY_FILE": str(settings.local_secret_path)}


def _started(
    channel: Channel, environ: Mapping[str, str], env_file: Path, settings: HouseSettings
) -> Service:
    # Here, the environment is as shared as the file: DATABASE_URL in it is the AI core's.
    others = {field.upper() for field in channel.settings.own}
    others |= {name + FILE_SUFFIX for name in others}
    environment = {name: value for name, value in environ.items() if name not in others}
    if not is_set("AI_API_URL", environ, env_file):
        environment["AI_API_URL"] = settings.core_url
    return Service(channel.name, channel.command, environment)
