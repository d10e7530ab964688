"""The ``telegram-service`` command: which of its commands runs, and with what."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop
from telegram.error import InvalidToken, TelegramError

from servicekit import logging
from servicekit.key_value.failures import StoreUnavailable
from servicekit.prompts import PromptError
from servicekit.serving.http import ListenError
from servicekit.settings import SettingsError
from servicekit.storage.database import DatabaseAddressError, StorageUnavailable
from servicekit.storage.secret_file import SecretFileError
from telegram_service import app
from telegram_service.cli import database, dead_letters, rotation, users
from telegram_service.cli.office import Office, open_office
from telegram_service.cli.terminal import ENV_FILE, FINE, complain
from telegram_service.config import Settings

AWAY = 1
"""Exit status: something that is needed is away; whoever runs this may start it again later."""
STOPPED_BY_HAND = 130


def main() -> None:
    """Entry point of the ``telegram-service`` script."""
    sys.exit(command(sys.argv[1:]))


def command(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    # What python-telegram-bot is about to return anyway; without this it warns of it.
    os.environ.setdefault("PTB_TIMEDELTA", "1")
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.load(os.environ, ENV_FILE)
    except SettingsError as error:
        return complain(*error.lines)
    if options.command == "run":
        logging.configure("debug" if settings.debug else settings.log_level, settings.log_format)
        return _finish(_serve(settings))
    logging.configure("warning", "console")
    if options.command == "database":
        return _finish(database.run(options, settings))
    return _finish(_operate(options, settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="telegram-service",
        description="Lets people chat with an AI core's models on Telegram. Settings come from the "
        "environment or .env; the README lists them.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="answer until SIGTERM or Ctrl-C")
    dead_letters.add_commands(commands)
    users.add_commands(commands)
    rotation.add_commands(commands)
    database.add_commands(commands)
    return parser


async def _serve(settings: Settings) -> int:
    await app.run(settings)
    return FINE


async def _operate(options: argparse.Namespace, settings: Settings) -> int:
    async with open_office(settings) as office:
        return await _in_office(options, settings, office)


async def _in_office(options: argparse.Namespace, settings: Settings, office: Office) -> int:
    match options.command:
        case "dead-letters":
            return await dead_letters.run(options, office)
        case "users":
            return await users.run(options, office)
        case "export":
            return await users.export(options, office)
        case "forget":
            return await users.forget(options, office)
        case _:
            return await rotation.run(settings, office)


def _finish(work: Coroutine[Any, Any, int]) -> int:
    try:
        return uvloop.run(work)
    except (DatabaseAddressError, ListenError, SecretFileError, PromptError, InvalidToken) as error:
        return complain(sentence(error))
    except (StorageUnavailable, StoreUnavailable, TelegramError) as error:
        return complain(sentence(error), status=AWAY)
    except KeyboardInterrupt:
        return STOPPED_BY_HAND


def sentence(error: Exception) -> str:
    """What somebody who typed the command can do about it."""
    match error:
        case ListenError():
            return f"TELEGRAM_HOST, TELEGRAM_PORT: {error}"
        case StorageUnavailable():
            return (
                "The database cannot be used: check TELEGRAM_DATABASE_URL, TELEGRAM_DB_USER and "
                "TELEGRAM_DB_PASSWORD, and that it runs."
            )
        case StoreUnavailable():
            return "Redis cannot be used: check REDIS_URL and REDIS_PASSWORD, and that it runs."
        case InvalidToken():
            return "TELEGRAM_BOT_TOKEN: Telegram does not know it. @BotFather gives valid ones."
        case TelegramError():
            return f"Telegram cannot be used ({type(error).__name__}): check TELEGRAM_API_URL."
        case _:
            return str(error)


if __name__ == "__main__":
    main()
