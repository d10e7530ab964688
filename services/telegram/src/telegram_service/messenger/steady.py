"""A messenger whose calls are never crowded: what was held up on its way here does not leave all at once.

``pacing`` says when a call's turn is. Between that and the call lies a write to the database, which takes
longer now and then; the calls that it held up would leave together with those whose turn is now, and Telegram
counts when they arrive.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from telegram_service.dialogue.incoming import Place
from telegram_service.messenger.port import Messenger, Outgoing

MOST_CALLS = 29
"""In any :data:`STRETCH_SECONDS`: one less than Telegram allows in a second, over a little more than that,
because the way to Telegram is not always equally long."""
STRETCH_SECONDS = 1.02


class SteadyMessenger:
    """Implements :class:`.port.Messenger` over another one."""

    def __init__(
        self,
        messenger: Messenger,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``clock`` is in seconds."""
        self._messenger = messenger
        self._clock = clock
        self._sleep = sleep
        self._left: deque[float] = deque(maxlen=MOST_CALLS)
        """When the last calls left."""

    async def send(self, place: Place, outgoing: Outgoing) -> int:
        await self._wait_turn()
        return await self._messenger.send(place, outgoing)

    async def send_file(self, place: Place, name: str, content: bytes) -> int:
        await self._wait_turn()
        return await self._messenger.send_file(place, name, content)

    async def edit(self, place: Place, message_id: int, outgoing: Outgoing) -> None:
        await self._wait_turn()
        await self._messenger.edit(place, message_id, outgoing)

    async def typing(self, place: Place) -> None:
        await self._messenger.typing(place)

    async def acknowledge(self, query_id: str, hint: str = "") -> None:
        await self._messenger.acknowledge(query_id, hint)

    async def download(self, file_id: str, max_bytes: int) -> bytes:
        return await self._messenger.download(file_id, max_bytes)

    async def _wait_turn(self) -> None:
        # Looked at anew after each wait: one that lasted too long must not crowd those behind it.
        while (wait := self._wait()) > 0:
            await self._sleep(wait)
        self._left.append(self._clock())

    def _wait(self) -> float:
        if len(self._left) < MOST_CALLS:
            return 0.0
        return self._left[0] + STRETCH_SECONDS - self._clock()
