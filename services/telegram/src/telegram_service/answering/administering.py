"""What administrators have the bot do: tell how it is used, shut somebody out, write to everybody."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from servicekit.journal.ledger import Ledger
from telegram_service.answering.asked import Asked
from telegram_service.answering.delivering import Deliverer
from telegram_service.answering.envelopes import Envelopes
from telegram_service.dialogue.actions import (
    AdminDeed,
    Ban,
    DraftBroadcast,
    StartBroadcast,
    Stats,
    StopBroadcast,
)
from telegram_service.dialogue.phrases import Phrase, broadcast_keyboard, draft_keyboard
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages
from telegram_service.messenger.port import Outgoing
from telegram_service.storage.broadcasts import Broadcasts
from telegram_service.storage.people import People

_NOBODY: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Administration:
    """One for all lanes. Everything it does may be done again."""

    people: People
    broadcasts: Broadcasts
    ledger: Ledger
    deliverer: Deliverer
    envelopes: Envelopes
    clock: Callable[[], datetime]
    allowed: Collection[int] = _NOBODY
    """To whom broadcasts go; empty: to everybody."""

    async def perform(self, deed: AdminDeed, asked: Asked) -> list[Outgoing]:
        """What is to be said about it. Raises StorageUnavailable, MessengerError."""
        match deed:
            case Stats():
                return await self._stats(asked)
            case Ban(user_id, banned):
                await self.people.ban(user_id, banned=banned)
                return asked.say(Phrase.BANNED if banned else Phrase.LET_IN, user=user_id)
            case DraftBroadcast(text):
                return await self._draft(text, asked)
            case StartBroadcast(number, message_id):
                await self._start(number, message_id, asked)
            case StopBroadcast(number, message_id):
                if await self.broadcasts.stop(number, asked.person.id):
                    await asked.show(self.deliverer, message_id, Phrase.BROADCAST_STOPPED)
            case _:
                assert_never(deed)
        return []

    async def _stats(self, asked: Asked) -> list[Outgoing]:
        now, backlog = self.clock(), await self.ledger.backlog()
        return asked.say(
            Phrase.STATS,
            known=await self.people.count(),
            today=await self.people.active_since(now - timedelta(days=1)),
            week=await self.people.active_since(now - timedelta(days=7)),
            banned=await self.people.count(banned=True),
            pending=backlog.pending,
            oldest=round((now - backlog.oldest).total_seconds()) if backlog.oldest else 0,
            unsent=backlog.unsent_parts,
            unknown=backlog.unknown_parts,
            repeated=backlog.repeated_parts,
            dead=backlog.dead,
        )

    async def _draft(self, text: str, asked: Asked) -> list[Outgoing]:
        preview = [Outgoing(message) for message in to_messages(read_markdown(text))]
        if len(preview) != 1:
            return asked.say(Phrase.BROADCAST_TOO_LONG)
        count = await self.broadcasts.audience(self.allowed)
        if count == 0:
            return asked.say(Phrase.BROADCAST_NOBODY)
        number = await self.broadcasts.draft(
            str(asked.incoming.update_id),
            asked.person.id,
            asked.language,
            self.envelopes.close_answer(preview[0]),
        )
        keyboard = draft_keyboard(number, asked.language)
        return [*preview, *asked.say(Phrase.BROADCAST_ASK, keyboard, count=count)]

    async def _start(self, number: int, message_id: int, asked: Asked) -> None:
        count = await self.broadcasts.start(number, asked.person.id, self.allowed)
        if count is not None:
            keyboard = broadcast_keyboard(number, asked.language)
            await asked.show(self.deliverer, message_id, Phrase.BROADCAST_BEGUN, keyboard, count=count)
