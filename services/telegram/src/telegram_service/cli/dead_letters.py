"""``telegram-service dead-letters``: messages that were given up."""

from __future__ import annotations

import argparse
import json

from servicekit.journal.records import Entry
from servicekit.storage.sealing import Unreadable
from telegram_service.cli.office import Office
from telegram_service.cli.terminal import FINE, NOT_FOUND, complain, moment, show_table


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and those below it."""
    parser = commands.add_parser("dead-letters", help="list, show, requeue and drop what was given up")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the oldest first, without texts")
    listing.add_argument("--limit", type=int, default=100, help="how many at most [%(default)s]")
    show = actions.add_parser("show", help="all that is known of one")
    show.add_argument("id", type=int)
    show.add_argument("--text", action="store_true", help="also what the person wrote")
    for name, what in (("requeue", "answer them after all"), ("drop", "delete them; nobody will answer")):
        action = actions.add_parser(name, help=what)
        action.add_argument("id", type=int, nargs="+")


async def run(options: argparse.Namespace, office: Office) -> int:
    """One of them; returns the exit status."""
    if options.action == "list":
        found = await office.ledger.dead_letters(options.limit)
        rows = [(one.id, one.lane, moment(one.received_at), one.attempts, one.reason) for one in found]
        show_table(("id", "chat", "received", "attempts", "reason"), rows, "There are no dead letters.")
        return FINE
    if options.action == "show":
        return await _show(office, options.id, with_text=options.text)
    change = office.ledger.requeue if options.action == "requeue" else office.drop
    missing = [number for number in options.id if not await change(number)]
    print(f"{len(options.id) - len(missing)} of {len(options.id)} done.")
    if missing:
        return complain(f"not among the dead letters: {', '.join(map(str, missing))}", status=NOT_FOUND)
    return FINE


async def _show(office: Office, number: int, *, with_text: bool) -> int:
    entry = await office.ledger.find(number)
    if entry is None:
        return complain(f"there is no message {number}", status=NOT_FOUND)
    rows = [
        ("id", entry.id),
        ("update", entry.key),
        ("chat", entry.lane),
        ("state", entry.state.value),
        ("received", moment(entry.received_at)),
        ("attempts", entry.attempts),
        ("reason", entry.reason or "–"),
        ("bytes", len(entry.payload)),
        ("parts of its answer", len(await office.ledger.parts(number))),
    ]
    if with_text:
        rows.append(("update's content", _text(office, entry)))
    show_table(("", ""), rows, "")
    return FINE


def _text(office: Office, entry: Entry) -> str:
    try:
        return json.dumps(office.envelopes.open_update(entry.payload), ensure_ascii=False, indent=1)
    except Unreadable:
        return "cannot be read: it was sealed with another SECRET_KEY"
