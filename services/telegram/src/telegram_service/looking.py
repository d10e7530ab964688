"""Asks Telegram whether its calls reach us: of those that do not, nothing is heard here.
https://core.telegram.org/bots/api#getwebhookinfo"""

from __future__ import annotations

import asyncio

from telegram import Bot
from telegram.error import TelegramError

from telegram_service.messenger.measured import outcome_of
from telegram_service.metrics import Metrics

LOOK_SECONDS = 60.0
_CALL = "get_webhook_info"


async def look_at_webhook(bot: Bot, metrics: Metrics, *, every: float = LOOK_SECONDS) -> None:
    """Until cancelled. Where nobody writes, it is also how one learns that Telegram is away."""
    while True:
        try:
            info = await bot.get_webhook_info()
        except TelegramError as error:
            metrics.called(_CALL, outcome_of(error))
        else:
            metrics.called(_CALL, "ok")
            metrics.looked_at_webhook(info.pending_update_count, info.last_error_date)
        await asyncio.sleep(every)
