"""``telegram-service users``, ``export`` and ``forget``: people, and what is kept about them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from telegram_service.cli.office import Office
from telegram_service.cli.terminal import FINE, NOT_FOUND, complain, moment, show_table
from telegram_service.storage.people import KnownPerson


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands and those below them."""
    parser = commands.add_parser("users", help="list, show, ban and unban people")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="who wrote last comes first")
    listing.add_argument("--banned", action="store_true", help="only those who are shut out")
    listing.add_argument("--limit", type=int, default=100, help="how many at most [%(default)s]")
    for name, what in (
        ("show", "what is known of one"),
        ("ban", "shut somebody out"),
        ("unban", "let somebody in again"),
    ):
        actions.add_parser(name, help=what).add_argument("id", type=int, help="Telegram's number of them")
    export = commands.add_parser("export", help="all that is kept about somebody, as JSON")
    export.add_argument("id", type=int, help="Telegram's number of them")
    export.add_argument("--output", type=Path, help="a new file for it [standard output]")
    forget = commands.add_parser("forget", help="delete all that is kept about somebody")
    forget.add_argument("id", type=int, help="Telegram's number of them")
    forget.add_argument("--yes", action="store_true", help="do not ask")


async def run(options: argparse.Namespace, office: Office) -> int:
    """``users``; returns the exit status."""
    if options.action == "list":
        people = await office.people.listed(banned_only=options.banned, limit=options.limit)
        show_table(_COLUMNS, map(_row, people), "Nobody has written yet.")
        return FINE
    if options.action in {"ban", "unban"}:
        await office.people.ban(options.id, banned=options.action == "ban")
        print(f"{options.id} is {'shut out' if options.action == 'ban' else 'let in'}.")
        return FINE
    person = await office.people.get(options.id)
    if person is None:
        return complain(f"{options.id} is not known", status=NOT_FOUND)
    settings = person.person.settings
    rows = [*zip(_COLUMNS, _row(person), strict=True)]
    rows += [
        ("model", settings.model or "the default"),
        ("language", settings.language.value if settings.language else "as their Telegram"),
        ("length", settings.length.value),
        ("creativity", settings.creativity.value),
        ("streaming", "yes" if settings.streaming else "no"),
    ]
    show_table(("", ""), rows, "")
    return FINE


async def export(options: argparse.Namespace, office: Office) -> int:
    """``export``; returns the exit status."""
    content = await office.personal_data.export(options.id)
    if content is None:
        return complain(f"nothing is kept about {options.id}", status=NOT_FOUND)
    if options.output is None:
        sys.stdout.write(f"{content.decode()}\n")
        return FINE
    try:
        # Nobody else may read it, from its first byte on.
        descriptor = os.open(options.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        return complain(f"{options.output} cannot be made ({error.strerror})")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return FINE


async def forget(options: argparse.Namespace, office: Office) -> int:
    """``forget``; returns the exit status."""
    if not options.yes and not _confirmed(options.id):
        return complain("nothing was deleted", status=NOT_FOUND)
    await office.personal_data.forget(options.id)
    print(f"Nothing is kept about {options.id} any more.")
    return FINE


def _confirmed(person_id: int) -> bool:
    print(f"Delete all that is kept about {person_id}? This cannot be undone. [yes/no] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


_COLUMNS = ("id", "first seen", "last seen", "shut out", "reachable")


def _row(known: KnownPerson) -> tuple[object, ...]:
    person = known.person
    return (
        person.id,
        moment(known.first_seen),
        moment(known.last_seen),
        "yes" if person.banned else "no",
        "yes" if person.reachable else "no",
    )
