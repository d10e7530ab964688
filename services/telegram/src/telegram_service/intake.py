"""Takes updates in: stored before they are acknowledged, each once, in the lane where it belongs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from servicekit.journal.journal import Journal
from servicekit.journal.wakeups import Wakeups
from telegram_service.allowance import Allowance, unlimited
from telegram_service.answering.envelopes import Envelopes
from telegram_service.dialogue.halves import may_continue
from telegram_service.dialogue.incoming import Incoming
from telegram_service.dialogue.pruning import pruned
from telegram_service.dialogue.reading import read_update
from telegram_service.metrics import Metrics

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
        allowance: Allowance | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """``allowance``: None: everybody may send as much as they like."""
        self._journal = journal
        self._envelopes = envelopes
        self._wakeups = wakeups
        self._bot = (bot_id, bot_name)
        self._clock = clock
        self._allowance = allowance or unlimited(clock)
        self._metrics = metrics or Metrics(CollectorRegistry())

    async def take(self, update: Mapping[str, Any]) -> None:
        """Once this returns, Telegram may forget the update. Raises StorageUnavailable."""
        began = time.perf_counter()
        incoming = read_update(update, *self._bot)
        if incoming is None:
            return
        if await self._store(update, incoming):
            self._metrics.received(incoming.content, time.perf_counter() - began)

    async def _store(self, update: Mapping[str, Any], incoming: Incoming) -> bool:
        """Whether it was not known yet."""
        key = str(incoming.update_id)
        lane = incoming.place.control_lane if incoming.is_control else incoming.place.lane
        refused = await self._allowance.admit(incoming)
        if refused is not None and not refused.tell:
            # What is not worked on need not be kept, only that it came.
            self._metrics.refused(refused.refusal.limit)
            return await self._journal.receive(key, lane, b"", closed=f"refused: {refused.refusal.limit}")
        not_before = None
        if refused is not None:
            self._metrics.refused(refused.refusal.limit)
            # Said at once, not behind the answers that are still to come.
            lane = incoming.place.control_lane
        elif may_continue(incoming.content):
            not_before = self._clock() + timedelta(seconds=SECOND_HALF_SECONDS)
        payload = self._envelopes.close_update(pruned(update), refused.refusal if refused else None)
        is_new = await self._journal.receive(key, lane, payload, not_before=not_before)
        self._wakeups.ring()
        return is_new
