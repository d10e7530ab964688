"""When the next call may be made, by Telegram's limits: for all instances together, where they share Redis.

One message per second in a chat, twenty a minute in a group, thirty a second in all; edits count
(https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this). We stay a little below.
"""

from __future__ import annotations

from servicekit.key_value.embedded_limits import EmbeddedLimits
from servicekit.key_value.limits import ASK_ONLY, Bucket, Limits
from servicekit.storage.sealing import PlainSeal
from telegram_service.hot_keys import HotKeys

CHAT_GAP = 1.1
"""Seconds between two calls in a chat with one person."""
GROUP_GAP = 3.7
"""Twenty a minute also where each waits some seconds more for the turn of all."""
OVERALL_PER_SECOND = 28.4
"""A little slower than ``steady`` lets calls leave: what is too much waits here, before its sending is
announced, and not there."""
BURST = 2
"""Calls of one chat at once: the parts of a long answer need not wait at the beginning."""
LEISURE_SECONDS = 0.25
"""What is shown while it is written waits no longer for the turn of all."""
_OVERALL = Bucket("everybody:pace", OVERALL_PER_SECOND, 1)


class Pacer:
    """One bot's calls. Nothing here raises."""

    def __init__(self, limits: Limits | None = None, keys: HotKeys | None = None) -> None:
        """``limits`` never raises StoreUnavailable; None: those of this process alone."""
        self._limits = limits or EmbeddedLimits()
        self._keys = keys or HotKeys(PlainSeal())

    async def in_chat(self, chat_id: int, patience: float) -> float:
        """Seconds until the next call in a chat may be made, which is taken to be made then. More than
        ``patience``: it is not, and nothing is booked."""
        return await self._limits.take([self._chat(chat_id, BURST)], patience=patience)

    async def overall(self, patience: float) -> float:
        """The same for the calls of all chats; to be asked when the chat's turn has come, because a turn that
        is booked for later would be lost to others until then."""
        return await self._limits.take([_OVERALL], patience=patience)

    async def at_leisure(self, chat_id: int) -> float | None:
        """Seconds until a call may be made that can as well be left out, which is taken to be made then;
        None: leave it out. The chat's burst, and turns that others wait for, are for calls that cannot be."""
        if await self._limits.take([self._chat(chat_id, 1)]) > 0:
            return None
        wait = await self._limits.take([_OVERALL], patience=LEISURE_SECONDS)
        return wait if wait <= LEISURE_SECONDS else None

    async def busy_for(self, chat_id: int) -> float:
        """Seconds until a chat takes another call, by what all instances know; nothing is booked."""
        return await self._limits.take([self._chat(chat_id, BURST)], patience=ASK_ONLY)

    async def silence(self, chat_id: int, seconds: float) -> None:
        """Telegram refused a call in a chat and asked for this."""
        await self._limits.hold(self._chat(chat_id, BURST), seconds)

    def _chat(self, chat_id: int, burst: int) -> Bucket:
        gap = GROUP_GAP if chat_id < 0 else CHAT_GAP
        return Bucket(self._keys.of_chat(chat_id, "pace"), 1 / gap, burst)
