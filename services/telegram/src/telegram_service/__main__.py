"""The ``telegram-service`` command."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from telegram.error import InvalidToken, TelegramError

from servicekit import logging
from servicekit.serving.http import ListenError
from servicekit.settings import SettingsError
from servicekit.storage.database import DatabaseAddressError, StorageUnavailable
from telegram_service import app
from telegram_service.config import Settings

UNUSABLE = 2
"""Exit status: the settings have to be changed."""


def main() -> None:
    """Entry point of the ``telegram-service`` script."""
    sys.exit(command(sys.argv[1:]))


def command(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    # What python-telegram-bot is about to return anyway; without this it warns of it.
    os.environ.setdefault("PTB_TIMEDELTA", "1")
    parser = argparse.ArgumentParser(
        prog="telegram-service", description="Lets people chat with an AI core's models on Telegram."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="answer until SIGTERM or Ctrl-C")
    parser.parse_args(arguments)
    return run()


def run() -> int:
    """Answer until a signal."""
    try:
        settings = Settings.load(os.environ, Path(".env"))
    except SettingsError as error:
        return _complain(*error.lines)
    logging.configure("debug" if settings.debug else settings.log_level, settings.log_format)
    try:
        asyncio.run(app.run(settings))
    except (DatabaseAddressError, ListenError, StorageUnavailable, TelegramError) as error:
        return _complain(sentence(error))
    return 0


def sentence(error: Exception) -> str:
    """What somebody who typed the command can do about it."""
    match error:
        case ListenError():
            return f"TELEGRAM_HOST, TELEGRAM_PORT: {error}"
        case StorageUnavailable():
            return "The database cannot be used: check DATABASE_URL, DB_USER and DB_PASSWORD."
        case InvalidToken():
            return "TELEGRAM_BOT_TOKEN: Telegram does not know it. @BotFather gives valid ones."
        case TelegramError():
            return f"Telegram cannot be used ({type(error).__name__}): check TELEGRAM_API_URL."
        case _:
            return str(error)


def _complain(*lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return UNUSABLE


if __name__ == "__main__":
    main()
