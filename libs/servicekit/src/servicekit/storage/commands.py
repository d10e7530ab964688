"""``… database``: what an operator does with all of a service's database at once. The same in every service;
each adds these commands to its own, with what it knows of its records (:mod:`.transfer`)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr
from sqlalchemy import URL

from servicekit.storage.copying import Copied, CopyRefused, copy
from servicekit.storage.database import Database, DatabaseAddressError, database_url
from servicekit.storage.migrating import MIGRATION_SECONDS, Schema, upgrade
from servicekit.storage.transfer import Records, Report, TransferError, lines_of, read_all, write_all

COMMAND = "database"
FINE = 0
REFUSED = 1
"""Exit status: not all could be done."""


class DatabaseSettings(Protocol):
    """Where a service's database is."""

    @property
    def database_url(self) -> SecretStr:
        """Its address."""

    @property
    def db_user(self) -> str | None:
        """Goes before the user in the address."""

    @property
    def db_password(self) -> SecretStr | None:
        """Goes before the password in the address."""


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], default: str
) -> argparse.ArgumentParser:
    """The command and those below it. ``default``: the address of the embedded database."""
    text = "copy the whole database into another one; import and export records as JSON Lines"
    parser: argparse.ArgumentParser = commands.add_parser(COMMAND, help=text, description=text)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    moving = actions.add_parser(
        "copy",
        help="from the embedded SQLite file to PostgreSQL, or back",
        description="Copies everything, in one transaction. Stop the service first. The target must be "
        "empty, and holds all of it or nothing afterwards. SECRET_KEY stays the same.",
    )
    moving.add_argument("--from", dest="source", default=default, metavar="URL", help="[%(default)s]")
    moving.add_argument(
        "--to", dest="target", metavar="URL", help="[DATABASE_URL, with DB_USER and DB_PASSWORD]"
    )
    taking = actions.add_parser(
        "import",
        help="take records from a file of JSON Lines",
        description="What is there already stays as it is, so the same file may be imported again. All in "
        "one transaction. docs/moving.md describes the records.",
    )
    taking.add_argument("file", type=Path, help="- is the standard input")
    taking.add_argument("--dry-run", action="store_true", help="say what would happen, and change nothing")
    giving = actions.add_parser("export", help="write all records to a file of JSON Lines")
    giving.add_argument("--output", type=Path, help="a new file for it [standard output]")
    return parser


def address_of(settings: DatabaseSettings, address: str | None = None) -> URL:
    """The database of the settings, or another one, which takes user and password from there unless it names
    its own. Raises DatabaseAddressError."""
    password = settings.db_password.get_secret_value() if settings.db_password else None
    if address is None:
        return database_url(settings.database_url.get_secret_value(), settings.db_user, password)
    url = database_url(address)
    if url.get_backend_name() == "sqlite":
        return url
    return database_url(address, url.username or settings.db_user, url.password or password)


async def copy_as_asked(options: argparse.Namespace, settings: DatabaseSettings, schema: Schema) -> int:
    """``copy``; returns the exit status. Raises DatabaseAddressError, StorageUnavailable."""
    source, target = _both(options, settings)
    try:
        async with _opened(source) as one, _opened(target) as other:
            copied = await copy(one, other, schema)
    except CopyRefused as error:
        return _complain(str(error))
    _show(("table", "rows"), [(each.table, str(each.rows)) for each in copied], _whole(copied))
    return FINE


async def transfer_as_asked(
    options: argparse.Namespace, database: Database, schema: Schema, records: Records
) -> int:
    """``import`` and ``export``, on the service's own database; returns the exit status.

    Raises:
        StorageUnavailable: the database is away; of an import, nothing is kept then.
    """
    await upgrade(database, schema)
    try:
        if options.action == "export":
            return await _export(options.output, database, records)
        with _reading(options.file) as lines:
            report = await read_all(lines, database, records, dry_run=options.dry_run)
    except TransferError as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or 'the file'} cannot be used ({error.strerror}).")
    return _tell(report, dry_run=options.dry_run)


async def _export(output: Path | None, database: Database, records: Records) -> int:
    if output is None:
        unreadable = await write_all(sys.stdout.buffer, database, records)
    else:
        # Nobody else may read it, from its first byte on.
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            unreadable = await write_all(file, database, records)
    if unreadable:
        return _complain(f"{unreadable} records cannot be read with this SECRET_KEY, and are left out.")
    return FINE


@contextmanager
def _reading(path: Path) -> Iterator[Iterator[bytes]]:
    if str(path) == "-":
        yield lines_of(sys.stdin.buffer)
        return
    with path.open("rb") as file:
        yield lines_of(file)


def _tell(report: Report, *, dry_run: bool) -> int:
    rows = [
        (kind, *(str(number) for number in (one.read, one.new, one.known, one.refused)))
        for kind, one in report.kinds.items()
    ]
    end = "Nothing was changed: this was a dry run." if dry_run else ""
    _show(("record", "read", "new", "already there", "refused"), rows, end)
    for refusal in report.refusals:
        sys.stderr.write(f"line {refusal.line}: {refusal.reason}\n")
    if more := report.refused - len(report.refusals):
        sys.stderr.write(f"and {more} more lines\n")
    return REFUSED if report.refused else FINE


def _both(options: argparse.Namespace, settings: DatabaseSettings) -> tuple[URL, URL]:
    source, target = address_of(settings, options.source), address_of(settings, options.target)
    if source.get_backend_name() == "sqlite" and not Path(source.database or "").is_file():
        # Opening it would make it.
        raise DatabaseAddressError(f"There is no database to copy: {source.database} is not there.")
    if _place(source) == _place(target):
        raise DatabaseAddressError(
            "Source and target are the same database: name the new one with --to, or in DATABASE_URL."
        )
    return source, target


def _whole(copied: Iterable[Copied]) -> str:
    return f"{sum(each.rows for each in copied)} rows copied; source and copy have the same number of each."


def _place(url: URL) -> tuple[object, ...]:
    name = str(Path(url.database or "").resolve()) if url.get_backend_name() == "sqlite" else url.database
    return url.get_backend_name(), url.host, url.port, name


@asynccontextmanager
async def _opened(url: URL) -> AsyncIterator[Database]:
    database = Database(url, command_seconds=MIGRATION_SECONDS)
    try:
        yield database
    finally:
        await database.close()


def _complain(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return REFUSED


def _show(columns: Sequence[str], rows: Sequence[Sequence[str]], end: str) -> None:
    """A table for people, numbers to the right."""
    widths = [max(len(row[number]) for row in (columns, *rows)) for number in range(len(columns))]
    for row in (columns, *rows):
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    if end:
        sys.stdout.write(f"{end}\n")
