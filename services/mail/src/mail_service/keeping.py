"""What is kept of people: to be had, to be deleted, and for how long."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mail_service import lanes
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
    ) -> None:
        self._database = database
        self._correspondence = correspondence
        self._allowances = allowances
        self._ways = ways
        self._ledger = ledger
        self._names = names

    async def export(self, address: str) -> bytes:
        """All that is kept of an address, as JSON."""
        filed = await self._correspondence.of_person(self._names.person(address))
        document = {"address": address, "mails": [await self._mail(one) for one in filed]}
        return json.dumps(document, ensure_ascii=False, indent=2).encode()

    async def forget(self, address: str) -> int:
        """Delete all that is kept of an address; how many mails and answers that were."""
        return await self.forget_person(self._names.person(address))

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
        return count

    async def clean(self, before: datetime) -> Cleaned:
        """Delete what was over before a moment."""
        letters = await self._correspondence.clean(before)
        await self._allowances.clean()
        return Cleaned(letters, await self._ledger.clean(before))

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
            "steps": [
                {"at": step.at.isoformat(), "step": step.step.value, "reason": step.reason} for step in way
            ],
        }
