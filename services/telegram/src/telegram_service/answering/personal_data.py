"""All that is kept about somebody: given to them, or deleted.

People's own lanes are found by their names. What they said in groups stands in the lanes of the groups, among
what others said; it is found by reading all of that. Forgetting is rare, and so nothing has to be kept in
addition, with every message, only to find it again. That may be much: everybody else gets a turn after every
page of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from servicekit.journal.ledger import Ledger
from servicekit.journal.records import Entry
from servicekit.storage.database import Database
from servicekit.storage.sealing import Unreadable
from telegram_service.allowance import Allowance
from telegram_service.answering.envelopes import Envelopes
from telegram_service.storage.broadcasts import Broadcasts
from telegram_service.storage.conversations import Conversations, KeptTurn
from telegram_service.storage.people import People

FILE_NAME = "neo-export.json"
GROUPS = "-"
"""The numbers of groups are negative, and so their lanes begin."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Raises ``StorageUnavailable`` while the database is away. Forgetting also raises ``StoreUnavailable``
    while Redis is: what is counted there about somebody is not to outlive their wish."""

    database: Database
    people: People
    conversations: Conversations
    broadcasts: Broadcasts
    ledger: Ledger
    envelopes: Envelopes
    allowance: Allowance

    async def export(self, person_id: int) -> bytes | None:
        """A JSON file with all of it; None: nobody of this number is known."""
        known = await self.people.get(person_id)
        messages = [await self._exported(entry, update) async for entry, update in self._said_by(person_id)]
        if known is None and not messages:
            return None
        person = None
        if known is not None:
            person = {
                "settings": asdict(known.person.settings),
                "banned": known.person.banned,
                "reachable": known.person.reachable,
                "first_seen": known.first_seen.isoformat(),
                "last_seen": known.last_seen.isoformat(),
            }
        document = {
            "id": person_id,
            "person": person,
            "conversations": [_said(kept) for kept in await self.conversations.of_person(person_id)],
            "messages": messages,
            "counters": await self.allowance.known_of(person_id),
        }
        text = await asyncio.to_thread(json.dumps, document, ensure_ascii=False, indent=2)
        return text.encode()

    async def forget(self, person_id: int, *, wish: str = "") -> None:
        """Delete all of it; a ban stays, as a number. Whoever works on one of their messages stops.

        Args:
            wish: the key of the message with which they asked for it, which :meth:`forget_wish` deletes when
                they have been told: until then, a crash lets it be done again.
        """
        await self.allowance.forget(person_id)
        own = await self._own_lanes(person_id)
        said = [entry async for page in self._pages(own) for entry in page]
        said += [entry async for entry, _ in self._said_in_groups(person_id)]
        said = [entry for entry in said if entry.key != wish]
        # Who writes an answer for them loses its lane here, and so writes nothing after what comes next.
        for start in range(0, len(said), PAGE):
            await self.ledger.erase(said[start : start + PAGE])
            await asyncio.sleep(0)
        await self._forget_person(person_id, own)
        await self.database.scrub()

    async def _forget_person(self, person_id: int, own_lanes: list[str]) -> None:
        await self.broadcasts.forget(person_id)
        await self.conversations.forget(person_id, own_lanes)
        await self.people.forget(person_id)
        await self.allowance.forget(person_id)
        await self.ledger.remove_empty(own_lanes)

    async def forget_wish(self, person_id: int, entry: Entry) -> None:
        """The last of it: how fast they were just told, and what else it took to tell them. Whatever fails
        before the wish itself is deleted, it is done again."""
        own = await self._own_lanes(person_id)
        await self._forget_person(person_id, own)
        await self.ledger.erase([entry], lanes=own)
        await self.database.scrub()

    async def _own_lanes(self, person_id: int) -> list[str]:
        """Of the private chat with them: its conversation, topics, and commands."""
        name = str(person_id)
        begin_so = await self.ledger.lanes(name)
        # Also where nothing of it stands in the journal any more.
        return [name, *(lane for lane in begin_so if lane[len(name) : len(name) + 1] in {":", "!"})]

    async def _said_by(self, person_id: int) -> AsyncIterator[tuple[Entry, dict[str, Any]]]:
        """What somebody has sent that is still kept, with the update that it was."""
        async for said in self._sent_by(person_id, await self._own_lanes(person_id)):
            yield said
        async for said in self._said_in_groups(person_id):
            yield said

    async def _said_in_groups(self, person_id: int) -> AsyncIterator[tuple[Entry, dict[str, Any]]]:
        groups = await self.ledger.lanes(GROUPS)
        for start in range(0, len(groups), PAGE):
            async for said in self._sent_by(person_id, groups[start : start + PAGE]):
                yield said

    async def _sent_by(self, person_id: int, lanes: list[str]) -> AsyncIterator[tuple[Entry, dict[str, Any]]]:
        async for page in self._pages(lanes):
            for entry, update in await asyncio.to_thread(self._by, person_id, page):
                yield entry, update

    async def _pages(self, lanes: list[str]) -> AsyncIterator[list[Entry]]:
        after = 0
        while page := await self.ledger.history(lanes, after=after, limit=PAGE):
            after = page[-1].id
            yield page
            await asyncio.sleep(0)

    def _by(self, person_id: int, page: Sequence[Entry]) -> list[tuple[Entry, dict[str, Any]]]:
        """Those of a page that somebody has sent, and what they are."""
        opened = ((entry, self._opened(entry)) for entry in page)
        return [(entry, update) for entry, update in opened if update and _sender(update) == person_id]

    def _opened(self, entry: Entry) -> dict[str, Any] | None:
        try:
            return self.envelopes.open_update(entry.payload) if entry.payload else None
        except Unreadable:
            return None

    async def _exported(self, entry: Entry, update: dict[str, Any]) -> dict[str, Any]:
        texts = []
        for part in await self.ledger.parts(entry.id):
            try:
                answer = self.envelopes.open_answer(part.content) if part.content else None
            except Unreadable:
                continue
            texts.append("" if answer is None else answer.file or answer.message.text)
        await asyncio.sleep(0)
        return {
            "chat": entry.lane,
            "at": entry.received_at.isoformat(),
            "state": entry.state,
            "update": update,
            "answers": texts,
        }


def _said(kept: KeptTurn) -> dict[str, Any]:
    there = {"chat": kept.lane, "at": kept.at.isoformat()}
    if kept.turn is None:
        return there | {"unreadable": True}
    turn = kept.turn
    return there | {"question": turn.question, "document": turn.document or None, "answer": turn.answer}


def _sender(update: dict[str, Any]) -> int | None:
    for kind in ("message", "callback_query", "my_chat_member"):
        if kind in update:
            sender: int | None = update[kind].get("from", {}).get("id")
            return sender
    return None
