"""Takes updates in: stored before they are acknowledged, each once, in the lane where it belongs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from servicekit.journal.journal import Journal
from servicekit.journal.wakeups import Wakeups
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.handling import SPLIT_UNITS
from telegram_service.dialogue.incoming import Said
from telegram_service.dialogue.reading import read_update
from telegram_service.formatting.messages import units

SECOND_HALF_SECONDS = 1.0
"""A text of Telegram's greatest length waits so long for what may be its second half."""


class Intake:
    """One for the process."""

    def __init__(
        self,
        journal: Journal,
        envelopes: Envelopes,
        wakeups: Wakeups,
        *,
        bot_id: int,
        bot_name: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._envelopes = envelopes
        self._wakeups = wakeups
        self._bot = (bot_id, bot_name)
        self._clock = clock

    async def take(self, update: Mapping[str, Any]) -> None:
        """Once this returns, Telegram may forget the update. Raises StorageUnavailable."""
        incoming = read_update(update, *self._bot)
        if incoming is None:
            return
        lane = incoming.place.control_lane if incoming.is_control else incoming.place.lane
        not_before = None
        if isinstance(incoming.content, Said) and units(incoming.content.text) >= SPLIT_UNITS:
            not_before = self._clock() + timedelta(seconds=SECOND_HALF_SECONDS)
        payload = self._envelopes.close_update(dict(update))
        await self._journal.receive(str(incoming.update_id), lane, payload, not_before=not_before)
        self._wakeups.ring()
