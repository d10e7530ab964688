"""Asks Telegram for updates, where it cannot reach us. https://core.telegram.org/bots/api#getupdates"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from telegram import Bot
from telegram.error import Conflict, InvalidToken, TelegramError

from servicekit.logging import get_logger
from servicekit.storage.database import StorageUnavailable
from telegram_service.intake import Intake
from telegram_service.messenger.measured import outcome_of

ALLOWED_UPDATES = ["message", "callback_query", "my_chat_member"]
POLL_SECONDS = 30
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
Called = Callable[[str, str], None]
_CALL = "get_updates"

_log = get_logger(__name__)


async def poll(bot: Bot, intake: Intake, called: Called) -> None:
    """Take updates until cancelled. What is not stored is not confirmed, so it comes again.

    Args:
        called: hears of each call, and of what became of it.
    """
    offset: int | None = None
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            updates = await bot.get_updates(
                offset,
                timeout=POLL_SECONDS,
                read_timeout=POLL_SECONDS + 10,
                allowed_updates=ALLOWED_UPDATES,
            )
            called(_CALL, "ok")
            # In order of their numbers: with the offset, all before it are confirmed.
            for update in sorted(updates, key=lambda update: update.update_id):
                await intake.take(update.to_dict())
                offset = update.update_id + 1
            wait = FIRST_WAIT_SECONDS
        except (TelegramError, StorageUnavailable) as error:
            if isinstance(error, TelegramError):
                called(_CALL, outcome_of(error))
            _tell(error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def _tell(error: TelegramError | StorageUnavailable) -> None:
    match error:
        case Conflict():
            _log.error(
                "another program asks for this bot's updates",
                advice="let one run, or set WEBHOOK_URL for all",
            )
        case InvalidToken():
            _log.error(
                "Telegram does not know TELEGRAM_BOT_TOKEN any more", advice="@BotFather gives a new one"
            )
        case _:
            _log.warning("no updates", reason=type(error).__name__)
