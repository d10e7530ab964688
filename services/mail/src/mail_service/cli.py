"""The ``mail-service`` command: run, preview, and what operators do."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mail_service import app
from mail_service.admin.office import Office
from mail_service.composing.brand import BrandError
from mail_service.composing.guard import GuardFailed
from mail_service.composing.preview import preview
from mail_service.composing.signing import SigningError
from mail_service.config import Settings
from mail_service.language import Language
from mail_service.records import database_of, migrate, open_records, seal_of
from mail_service.storage.migrations import SCHEMA
from mail_service.storage.names import load_names
from mail_service.storage.transfer import MailRecords
from mail_service.verifying.resolver import DnsAway
from servicekit import logging
from servicekit.prompts import PromptError
from servicekit.serving.http import ListenError
from servicekit.settings import SettingsError
from servicekit.storage import commands as commands_of_databases
from servicekit.storage.database import DatabaseAddressError, StorageUnavailable
from servicekit.storage.migrating import MIGRATION_SECONDS, upgrade
from servicekit.storage.sealing import Unreadable
from servicekit.storage.secret_file import SecretFileError

NOT_FOUND = 1
UNUSABLE = 2
"""Exit status: the settings have to be changed."""

EMBEDDED = "sqlite:///var/mail.db"

_TOLD = (
    *(BrandError, PromptError, SigningError, DnsAway, ListenError, DatabaseAddressError, SecretFileError),
    *(StorageUnavailable, Unreadable, SettingsError, GuardFailed),
)


def main() -> None:
    """Entry point of the ``mail-service`` script."""
    sys.exit(command(sys.argv[1:]))


def command(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.load(os.environ, Path(".env"))
        logging.configure("debug" if settings.debug else settings.log_level, settings.log_format)
        status: int = options.run(settings, options)
    except _TOLD as error:
        for line in sentences(error):
            print(line, file=sys.stderr)
        return UNUSABLE
    return status


def sentences(error: Exception) -> tuple[str, ...]:
    """What somebody who typed the command can do about it."""
    match error:
        case SettingsError(lines=lines):
            return lines
        case ListenError():
            return (f"MAIL_HOST, MAIL_PORT: {error}",)
        case StorageUnavailable():
            return (
                "The database cannot be used: check MAIL_DATABASE_URL, MAIL_DB_USER and MAIL_DB_PASSWORD.",
            )
        case Unreadable():
            return ("The database was sealed with another SECRET_KEY: name the old one in SECRET_KEY_OLD.",)
        case _:
            return (str(error),)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mail-service", description="A mailbox that answers, with the models of an AI core."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(run=run)
        return one

    add("run", _run, "answer until SIGTERM or Ctrl-C")
    shown = add("preview", _preview, "write an answer, as it would look, into a file (.html, .txt or .eml)")
    shown.add_argument("file", type=Path)
    shown.add_argument("--language", choices=[one.value for one in Language], default="fr")
    shown.add_argument("--text", type=Path, help="a file with the answer, as Markdown")
    add("counters", _office(_counters), "how much waits, and what was done within a day")
    add("queue", _office(_queue), "what is not done with")
    one = add("mail", _office(_mail), "one mail with every step and every decision")
    one.add_argument("number", type=int)
    one.add_argument("--text", action="store_true", help="and what was written")
    dead = add("dead-letters", _office(_dead), "what was given up: list, show, requeue, drop")
    dead.add_argument("action", choices=["list", "show", "requeue", "drop"], nargs="?", default="list")
    dead.add_argument("number", type=int, nargs="?")
    add("pause", _office(_pause), "answer nothing; mails still come in")
    add("resume", _office(_resume), "answer again")
    for name, run, text in (
        ("export", _export, "print all that is kept of an address, as JSON"),
        ("forget", _forget, "delete all that is kept of an address"),
    ):
        add(name, _office(run), text).add_argument("address")
    commands_of_databases.add_commands(commands, EMBEDDED).set_defaults(run=_database)
    return parser


def _run(settings: Settings, _options: argparse.Namespace) -> int:
    asyncio.run(app.run(settings))
    return 0


def _database(settings: Settings, options: argparse.Namespace) -> int:
    if options.action == "copy":
        return asyncio.run(commands_of_databases.copy_as_asked(options, settings, SCHEMA))
    return asyncio.run(_transfer(settings, options))


async def _transfer(settings: Settings, options: argparse.Namespace) -> int:
    database, seal = database_of(settings, command_seconds=MIGRATION_SECONDS), seal_of(settings)
    try:
        await upgrade(database, SCHEMA)
        records = MailRecords(seal, await load_names(database, seal))
        return await commands_of_databases.transfer_as_asked(options, database, SCHEMA, records)
    finally:
        await database.close()


def _preview(settings: Settings, options: argparse.Namespace) -> int:
    text = options.text.read_text("utf-8") if options.text is not None else None
    options.file.write_bytes(
        preview(settings.brand_path, options.file.suffix, Language(options.language), text)
    )
    print(options.file)
    return 0


def _office(do: Callable[[Office, argparse.Namespace], Any]) -> Callable[..., int]:
    """A command over the database, whether the service runs or not."""

    async def work(settings: Settings, options: argparse.Namespace) -> int:
        await migrate(settings)
        async with open_records(settings) as records:
            office = Office(
                records.ledger, records.ways, records.correspondence, records.switches, records.keeper
            )
            status: int = await do(office, options)
            return status

    def run(settings: Settings, options: argparse.Namespace) -> int:
        return asyncio.run(work(settings, options))

    return run


async def _counters(office: Office, _options: argparse.Namespace) -> int:
    return _print(await office.counters())


async def _queue(office: Office, _options: argparse.Namespace) -> int:
    return _print(await office.queue())


async def _mail(office: Office, options: argparse.Namespace) -> int:
    found = await office.mail(options.number)
    if found is None:
        return _missing("There is no mail of this number.")
    if options.text:
        found["written"] = await office.letter(options.number)
    return _print(found)


async def _dead(office: Office, options: argparse.Namespace) -> int:
    if options.action == "list":
        return _print(await office.dead_letters())
    if options.number is None:
        return _missing(f"dead-letters {options.action} needs a number; `dead-letters list` shows them.")
    if options.action == "show":
        return await _mail(office, argparse.Namespace(number=options.number, text=True))
    done = await (office.requeue if options.action == "requeue" else office.drop)(options.number)
    return 0 if done else _missing("There is no dead letter of this number.")


async def _pause(office: Office, _options: argparse.Namespace) -> int:
    await office.pause()
    return 0


async def _resume(office: Office, _options: argparse.Namespace) -> int:
    await office.resume()
    return 0


async def _export(office: Office, options: argparse.Namespace) -> int:
    print((await office.export(options.address)).decode())
    return 0


async def _forget(office: Office, options: argparse.Namespace) -> int:
    return _print({"deleted": await office.forget(options.address)})


def _print(value: object) -> int:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))
    return 0


def _missing(text: str) -> int:
    print(text, file=sys.stderr)
    return NOT_FOUND
