"""``telegram-service rotate-key``: seal with SECRET_KEY what was sealed with keys of before."""

from __future__ import annotations

import argparse

from servicekit.storage.sealing import PlainSeal, seal_for
from telegram_service.cli.office import Office
from telegram_service.cli.terminal import FINE, NOT_FOUND, complain
from telegram_service.config import Settings
from telegram_service.resources import SEAL_PURPOSE, secret_of
from telegram_service.storage.resealing import reseal


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    commands.add_parser(
        "rotate-key",
        help="seal anew what SECRET_KEY_OLD, or no key at all, has sealed",
        description="Put the new key into SECRET_KEY and the one of before into SECRET_KEY_OLD, start the "
        "service again, and run this; then SECRET_KEY_OLD can go. The service may run meanwhile.",
    )


async def run(settings: Settings, office: Office) -> int:
    """Returns the exit status."""
    secret = secret_of(settings)
    if secret is None:
        return complain("SECRET_KEY is missing: set it to the new key")
    old = [seal_for(SEAL_PURPOSE, each.get_secret_value()) for each in settings.secret_key_old]
    done = await reseal(office.database, seal_for(SEAL_PURPOSE, secret), [*old, PlainSeal()])
    await office.database.scrub()
    print(f"{done.renewed} texts sealed anew; {done.current} were sealed with SECRET_KEY already.")
    if done.unreadable:
        return complain(
            f"{done.unreadable} texts cannot be read: add the key that has sealed them to SECRET_KEY_OLD",
            status=NOT_FOUND,
        )
    return FINE
