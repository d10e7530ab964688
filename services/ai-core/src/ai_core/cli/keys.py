"""``ai-core keys``: make, list, rotate and revoke API keys, straight in the database."""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ai_core.access.administration import (
    MAX_GRACE,
    IssuedKey,
    KeyAdministration,
    KeyWish,
    channel_wish,
    state_of,
    utc_now,
)
from ai_core.access.assembly import access_over, migrate, open_database
from ai_core.access.caller import KeyLimits, PriorityClass, Scope
from ai_core.access.keys import ID_CHARACTERS, SECRET_CHARACTERS, PresentedKey, digest_of, parse_key
from ai_core.cli.terminal import ENV_FILE, complain
from ai_core.config import Settings
from ai_core.errors import InvalidRequest, NeoError
from ai_core.storage.keys import KeyRecord
from servicekit.settings import SettingsError
from servicekit.storage.database import DatabaseAddressError

EXIT_REFUSED = 1
DEFAULT_SCOPES = (Scope.GENERATE, Scope.EMBEDDINGS, Scope.MODELS_READ)


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command ``keys`` and those below it."""
    keys = commands.add_parser("keys", help="make, list, rotate and revoke API keys")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_create(actions.add_parser("create", help="make a key and print it, this once"))
    actions.add_parser("list", help="all keys, without their secrets")
    rotate = actions.add_parser("rotate", help="give a key a new secret and print it, this once")
    rotate.add_argument("id", help="as `ai-core keys list` shows it")
    rotate.add_argument(
        "--grace",
        type=_up_to(int(MAX_GRACE.total_seconds())),
        default=0,
        metavar="SECONDS",
        help="how long the old secret works on [0]",
    )
    revoke = actions.add_parser("revoke", help="end a key at once and for good")
    revoke.add_argument("id", help="as `ai-core keys list` shows it")


def _add_create(create: argparse.ArgumentParser) -> None:
    whose = create.add_mutually_exclusive_group(required=True)
    whose.add_argument("--name", help="whose key this is")
    whose.add_argument(
        "--channel", metavar="NAME", help="for a channel service: no limit per minute, fairness by its users"
    )
    add = create.add_argument
    scopes = " ".join(Scope)
    add(
        "--scope",
        action="append",
        type=Scope,
        choices=list(Scope),
        metavar="SCOPE",
        help=f"one of {scopes}; repeatable [{' '.join(DEFAULT_SCOPES)}]",
    )
    add("--model", action="append", default=[], metavar="NAME", help="a model it may use; repeatable [all]")
    add("--default-model", metavar="NAME", help="for requests that name none [the server's]")
    add(
        "--network",
        action="append",
        default=[],
        metavar="CIDR",
        help="where it may be used; repeatable [everywhere]",
    )
    add(
        "--requests-per-minute",
        type=_up_to(1_000_000),
        metavar="N",
        help="0: no limit [RATE_LIMIT_PER_MINUTE]",
    )
    add("--tokens-per-minute", type=_up_to(10**12), metavar="N", help="[no limit]")
    add("--tokens-per-day", type=_up_to(10**12), metavar="N", help="[no limit]")
    add("--concurrent-requests", type=_up_to(100_000), metavar="N", help="[no limit]")
    add(
        "--priority",
        choices=[each.name.lower() for each in PriorityClass],
        default="normal",
        help="[%(default)s]",
    )
    add(
        "--fair-by-user",
        action="store_true",
        help="its waiting requests take turns by the user that they name",
    )
    add("--expires-in-days", type=_up_to(36_500), metavar="N", help="[never]")
    add(
        "--key-file",
        type=Path,
        metavar="PATH",
        help="make the key that stands in this file, once, and print nothing: for deployments",
    )


def _up_to(largest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not 0 <= value <= largest:
            raise argparse.ArgumentTypeError(f"{text} is not between 0 and {largest}")
        return value

    return number


def run(options: argparse.Namespace) -> int:
    """Run one action. Returns 0, 1 if it was refused, 2 if the settings or the database do not allow it."""
    try:
        settings = Settings.load(os.environ, ENV_FILE)
        return asyncio.run(_with_keys(settings, options))
    except SettingsError as error:
        return complain(*error.lines)
    except DatabaseAddressError as error:
        return complain(str(error))
    except NeoError as error:
        return complain(error.message, status=EXIT_REFUSED)


async def _with_keys(settings: Settings, options: argparse.Namespace) -> int:
    await migrate(settings)
    async with open_database(settings) as database:
        keys = access_over(database, settings).keys
        match options.action:
            case "create":
                await _create(keys, wish_of(options, settings, utc_now()), options.key_file)
            case "list":
                show_table(await keys.all(), utc_now())
            case "rotate":
                show_secret(await keys.rotate(options.id, timedelta(seconds=options.grace)))
            case "revoke":
                print(f"Revoked: {(await keys.revoke(options.id)).id}", file=sys.stderr)
    return 0


async def _create(keys: KeyAdministration, wish: KeyWish, file: Path | None) -> None:
    if file is None:
        show_secret(await keys.create(wish))
        return
    key = key_in_file(file)
    known = next((record for record in await keys.all() if record.id == key.id), None)
    if known is None:
        known = (await keys.create(wish, key)).record
    elif not hmac.compare_digest(known.secret_digest, digest_of(key.secret)):
        raise InvalidRequest(f"Key {key.id} exists with another secret: rotate it, or make a new file.")
    print(f"Key {known.id} ({known.name}) is in place.", file=sys.stderr)


def key_in_file(path: Path) -> PresentedKey:
    """The key that a deployment has made. Raises InvalidRequest."""
    try:
        key = parse_key(path.read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} cannot be read.") from error
    if key is None:
        raise InvalidRequest(
            f"{path} holds no key: neo_, {ID_CHARACTERS} small letters or digits, _, and "
            f"{SECRET_CHARACTERS} letters or digits."
        )
    return key


def wish_of(options: argparse.Namespace, settings: Settings, now: datetime) -> KeyWish:
    """The key that a command line asks for."""
    per_minute = options.requests_per_minute
    if options.channel is not None:
        base = channel_wish(options.channel)
    else:
        base = KeyWish(name=options.name, scopes=frozenset(DEFAULT_SCOPES), fair_by_user=options.fair_by_user)
        per_minute = settings.rate_limit_per_minute if per_minute is None else per_minute
    days = options.expires_in_days
    return KeyWish(
        name=base.name,
        scopes=frozenset(options.scope) if options.scope else base.scopes,
        limits=KeyLimits(
            requests_per_minute=per_minute or None,
            tokens_per_minute=options.tokens_per_minute or None,
            tokens_per_day=options.tokens_per_day or None,
            concurrent_requests=options.concurrent_requests or None,
        ),
        allowed_models=options.model,
        networks=options.network,
        default_model=options.default_model,
        priority=PriorityClass[options.priority.upper()],
        fair_by_user=base.fair_by_user,
        expires_at=now + timedelta(days=days) if days is not None else None,
    )


def show_secret(issued: IssuedKey) -> None:
    """The key alone on standard output, so that a script can take it; what it is on standard error."""
    print(f"Key {issued.record.id} ({issued.record.name}). It is shown this once:", file=sys.stderr)
    print(issued.key)


def show_table(records: list[KeyRecord], now: datetime) -> None:
    """All keys for a person."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    # Widths that keep ids, scopes and days whole, in a terminal of 80 columns.
    columns = {"id": 10, "name": 6, "state": 7, "scopes": 12, "/min": 4}
    for column, least in (columns | {"models": 6, "networks": 8, "expires": 10}).items():
        whole = column in {"id", "state", "/min", "expires"}
        table.add_column(column, min_width=least, no_wrap=whole, overflow="fold")
    for record in records:
        table.add_row(
            record.id,
            record.name,
            state_of(record, now),
            "all" if set(record.scopes) == set(Scope) else " ".join(record.scopes),
            str(record.requests_per_minute or "–"),
            " ".join(record.allowed_models) or "all",
            " ".join(record.networks) or "all",
            f"{record.expires_at:%Y-%m-%d}" if record.expires_at else "never",
        )
    # Names are text, whatever they look like.
    Console(markup=False, highlight=False, emoji=False).print(table)
