"""What keys have used: counted in memory with each answer, written to the database once a second."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime

from ai_core.storage.usage import Amount, UsageKey, UsageRepository
from servicekit.logging import get_logger

FLUSH_SECONDS = 1.0
MAX_BUFFERED = 10_000
"""Keys × models × days that are kept while the database is away; what is new beyond that is not counted."""

log = get_logger(__name__)


def utc_now() -> datetime:
    """The time that days are counted by."""
    return datetime.now(UTC)


class UsageLedger:
    """Counts at once and writes later, so that no answer waits for the database.

    What a flush could not write is kept for the next one. A process that is killed loses what it
    has counted within its last second.
    """

    def __init__(self, repository: UsageRepository, now: Callable[[], datetime] = utc_now) -> None:
        self._repository = repository
        self._now = now
        self._counted: dict[UsageKey, Amount] = {}
        self._being_written: dict[UsageKey, Amount] = {}
        self._writes = 0
        self._failing = False
        self.dropped = 0
        """Answers that were not counted, because the buffer was full."""

    def note(self, key_id: str, model: str, amount: Amount) -> None:
        """Count what one answer has used."""
        key = UsageKey(key_id, self._now().date(), model)
        if key not in self._counted and len(self._counted) >= MAX_BUFFERED:
            self.dropped += 1
            return
        self._counted[key] = self._counted.get(key, Amount()) + amount

    async def tokens_of_day(self, key_id: str, day: date) -> int:
        """Tokens of a key on a day (UTC), those included that are not written yet.

        Raises:
            StorageUnavailable: the database is down.
        """
        while True:
            writes, waiting = self._writes, self._waiting(key_id, day, day)
            written = await self._repository.tokens_of_day(key_id, day)
            # What was written meanwhile would be in both numbers.
            if writes == self._writes:
                return written + sum(amount.tokens for amount in waiting.values())

    async def between(self, key_id: str, first: date, last: date) -> dict[UsageKey, Amount]:
        """What a key has used from one day to another, both included. Raises StorageUnavailable."""
        while True:
            writes, waiting = self._writes, self._waiting(key_id, first, last)
            written = await self._repository.between(key_id, first, last)
            if writes == self._writes:
                return added(written, waiting)

    def _waiting(self, key_id: str, first: date, last: date) -> dict[UsageKey, Amount]:
        """What is not written yet, or being written."""
        both = added(self._counted, self._being_written)
        return {key: both[key] for key in both if key.key_id == key_id and first <= key.day <= last}

    async def flush(self) -> None:
        """Write what was counted. Raises StorageUnavailable, and then keeps it for the next time."""
        if not self._counted or self._being_written:
            return
        self._being_written, self._counted = self._counted, {}
        try:
            await self._repository.add(self._being_written)
        except BaseException:
            self._counted = added(self._counted, self._being_written)
            raise
        finally:
            self._being_written = {}
            self._writes += 1

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Writes once a second for the length of a block, and what is left at its end."""
        stop = asyncio.Event()
        writer = asyncio.create_task(self._write_until(stop))
        try:
            yield
        finally:
            stop.set()
            # Not cancelled: a write that is broken off may have happened, and would happen again.
            await writer
            if self._counted:
                log.error("usage lost at shutdown", entries=len(self._counted))

    async def _write_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await stop.wait()
            await self._flush_and_tell()
        # What was counted while the last write was under way.
        await self._flush_and_tell()

    async def _flush_and_tell(self) -> None:
        try:
            await self.flush()
        except Exception as error:  # noqa: BLE001
            # Whatever it was: counting goes on, and the next write may succeed.
            if not self._failing:
                log.warning("usage cannot be written", error=type(error).__name__, entries=len(self._counted))
            self._failing = True
        else:
            if self._failing:
                log.info("usage is written again")
            self._failing = False


def added(one: Mapping[UsageKey, Amount], other: Mapping[UsageKey, Amount]) -> dict[UsageKey, Amount]:
    """The sums of both."""
    return dict(one) | {key: one.get(key, Amount()) + amount for key, amount in other.items()}
