"""What an operator may ask and order. No address and no text is shown but by :meth:`Office.letter`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from mail_service.keeping import Keeper
from mail_service.storage.correspondence import Correspondence
from mail_service.storage.switches import Switches
from mail_service.storage.ways import Step, Ways
from servicekit.journal.journal import now_in_utc
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import Entry
from servicekit.journal.wakeups import Wakeups

COUNTED = timedelta(days=1)


class Office:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(
        self,
        ledger: Ledger,
        ways: Ways,
        correspondence: Correspondence,
        switches: Switches,
        keeper: Keeper,
        wakeups: Wakeups | None = None,
        *,
        clock: Callable[[], datetime] = now_in_utc,
    ) -> None:
        self._ledger = ledger
        self._ways = ways
        self._correspondence = correspondence
        self._switches = switches
        self._keeper = keeper
        self._wakeups = wakeups
        self._clock = clock

    async def counters(self) -> dict[str, Any]:
        """How much waits, and what was done within a day, by step and reason."""
        backlog = await self._ledger.backlog()
        paused = await self._switches.paused_since()
        counts = await self._ways.counts(self._clock() - COUNTED)
        return {
            "paused_since": paused,
            **asdict(backlog),
            "last_day": [
                {"step": step, "reason": reason, "count": count}
                for (step, reason), count in sorted(counts.items())
            ],
        }

    async def queue(self, limit: int = 100) -> list[dict[str, Any]]:
        """What is not done with, oldest first."""
        return [asdict(waiting) for waiting in await self._ways.queue(limit)]

    async def dead_letters(self, limit: int = 100) -> list[dict[str, Any]]:
        """What was given up, oldest first."""
        return [_entry(entry) for entry in await self._ledger.dead_letters(limit)]

    async def mail(self, entry_id: int) -> dict[str, Any] | None:
        """One mail with every step and every rule; None: there is none of this number."""
        entry = await self._ledger.find(entry_id)
        if entry is None:
            return None
        way = [asdict(passed) for passed in await self._ways.of(entry_id)]
        return _entry(entry) | {"way": way}

    async def letter(self, entry_id: int) -> list[dict[str, Any]]:
        """What was written: the mail, and the answer if there is one. For the operator's eyes alone."""
        return [
            {"from_us": one.outgoing, "at": one.at, **_written(one.written)}
            for one in await self._correspondence.of_entry(entry_id)
        ]

    async def requeue(self, entry_id: int) -> bool:
        """Try what was given up again. False: it is not among the dead."""
        if not await self._ledger.requeue(entry_id):
            return False
        await self._ways.add(entry_id, Step.REQUEUED)
        if self._wakeups is not None:
            self._wakeups.ring()
        return True

    async def drop(self, entry_id: int) -> bool:
        """Delete what was given up. False: it is not among the dead."""
        return await self._keeper.drop(entry_id)

    async def pause(self) -> None:
        """Answer nothing until :meth:`resume`; mails still come in."""
        await self._switches.pause()

    async def resume(self) -> None:
        """Answer again."""
        await self._switches.resume()
        if self._wakeups is not None:
            self._wakeups.ring()

    async def export(self, address: str) -> bytes:
        """All that is kept of an address, as JSON."""
        return await self._keeper.export(address)

    async def forget(self, address: str) -> int:
        """Delete all that is kept of an address; how many mails and answers that were."""
        return await self._keeper.forget(address)


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "entry_id": entry.id,
        "state": entry.state.value,
        "received_at": entry.received_at,
        "due_at": entry.due_at,
        "attempts": entry.attempts,
        "reason": entry.reason,
        "thread": entry.lane,
    }


def _written(written: Any) -> dict[str, Any]:
    return {
        name: getattr(written, name) for name in ("message_id", "address", "name", "subject", "text", "date")
    }
