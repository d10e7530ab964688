"""What is kept of people: to be had, to be deleted, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_service import lanes
from mail_service.reading.addresses import normal
from mail_service.storage.allowances import Allowances
from mail_service.storage.correspondence import Correspondence, Filed
from mail_service.storage.names import Names
from mail_service.storage.ways import Ways
from servicekit.journal.ledger import Ledger
from servicekit.storage.database import Database

PAGE = 200
"""Threads that are forgotten with one statement: a database takes only so many names at once."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was deleted because of its age."""

    letters: int
    entries: int


class Payloads(Protocol):
    """Says what is in the payloads of entries."""

    def of_mail(self, payload: bytes) -> dict[str, Any]:
        """What stood in a mail and is kept nowhere else; nothing: it cannot be read."""

    def of_notice(self, payload: bytes) -> dict[str, Any]:
        """What somebody was told apart from answers; nothing: it cannot be read."""


class Keeper:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(
        self,
        database: Database,
        correspondence: Correspondence,
        allowances: Allowances,
        ways: Ways,
        ledger: Ledger,
        names: Names,
        payloads: Payloads,
    ) -> None:
        self._database = database
        self._correspondence = correspondence
        self._allowances = allowances
        self._ways = ways
        self._ledger = ledger
        self._names = names
        self._payloads = payloads

    async def export(self, address: str) -> bytes:
        """All that is kept of an address, as JSON; of files, what they were called."""
        person = self._person(address)
        filed = await self._correspondence.of_person(person)
        document = {
            "address": address,
            "mails": [await self._mail(one) for one in filed],
            "notices": [notice async for notice in self._notices(person)],
            "counted_for_limits": [at.isoformat() for at in await self._allowances.of_person(person)],
        }
        return json.dumps(document, ensure_ascii=False, indent=2).encode()

    async def forget(self, address: str) -> int:
        """Delete all that is kept of an address; how many mails and answers that were."""
        return await self.forget_person(self._person(address))

    async def forget_person(self, person: str) -> int:
        """The same, by the name of a person.

        What came in is found by the letters, and the order to forget may be one of it. So all goes at once:
        whatever happens meanwhile, the order is still there and finds everything again, or nothing is.
        """
        threads, count = await self._correspondence.threads_of(person), 0
        await self._allowances.forget(person)
        async with self._database.writing() as connection:
            for start in range(0, len(threads), PAGE):
                some = threads[start : start + PAGE]
                named = [name for thread in some for name in (thread, lanes.notices(thread))]
                await self._ledger.forget_within(connection, named)
                count += await self._correspondence.forget(connection, person, some)
        await self._database.scrub()
        return count

    async def drop(self, entry_id: int) -> bool:
        """Delete a mail that was given up. What was written is kept as long as of other mails, to be exported
        or forgotten. False: it is not among the dead."""

        async def also(connection: AsyncConnection) -> None:
            await self._allowances.detach(connection, entry_id)
            await self._correspondence.detach(connection, entry_id)

        return await self._ledger.drop(entry_id, also=also)

    async def clean(self, before: datetime) -> Cleaned:
        """Delete what was over before a moment."""
        entries = await self._ledger.clean(before)
        letters = await self._correspondence.clean(before)
        await self._allowances.clean()
        # Also what was forgotten while the database had no time for it.
        await self._database.scrub()
        return Cleaned(letters, entries)

    def _person(self, address: str) -> str:
        """As letters name people: by the address as it is written in a header."""
        return self._names.person(normal(address) or address)

    async def _notices(self, person: str) -> AsyncIterator[dict[str, Any]]:
        for thread in await self._correspondence.threads_of(person):
            for number, at in await self._ways.received(lanes.notices(thread)):
                entry = await self._ledger.find(number)
                if entry is not None:
                    yield {"at": at.isoformat(), **self._payloads.of_notice(entry.payload)}

    async def _more_of(self, entry_id: int) -> dict[str, Any]:
        entry = await self._ledger.find(entry_id)
        return await asyncio.to_thread(self._payloads.of_mail, entry.payload) if entry is not None else {}

    async def _mail(self, one: Filed) -> dict[str, Any]:
        way = [] if one.outgoing else await self._ways.of(one.entry_id)
        written = one.written
        return {
            "direction": "from us" if one.outgoing else "to us",
            "at": one.at.isoformat(),
            "message_id": written.message_id,
            "name": written.name,
            "subject": written.subject,
            "text": written.text,
            **({} if one.outgoing else await self._more_of(one.entry_id)),
            "steps": [
                {"at": step.at.isoformat(), "step": step.step.value, "reason": step.reason} for step in way
            ],
        }
