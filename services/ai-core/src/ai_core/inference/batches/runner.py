"""Answers the lines of all batches, a few at a time.

Each line is claimed in the database with a lease, which is renewed while the line is being answered. A
process that dies lets go of its lines when their leases lapse, and whoever runs then takes them up
again. So every line has at most one *recorded* result; that a request is *computed* twice can happen,
where a process dies in the middle of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from ai_core.access.caller import Caller, PriorityClass
from ai_core.errors import StorageUnavailable
from ai_core.inference.batches.archive import Batches, Line
from ai_core.inference.batches.decisions import Outcome, next_key, postponement
from ai_core.inference.batches.metrics import BatchMetrics
from ai_core.storage.batches import BatchRepository, BatchState, Claim, LineState
from servicekit.logging import get_logger

log = get_logger(__name__)

Perform = Callable[[Caller, Claim, Line], Awaitable[Outcome]]
"""Answers one line on behalf of a caller. Cancelling it stops what it computes."""


class Keys(Protocol):
    """Where callers are looked up."""

    async def caller(self, key_id: str) -> Caller | None:
        """Who a key is; None if it is not valid any more. Raises StorageUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much, and how often. Times in seconds."""

    at_once: int = 4
    """Lines under way in this process."""
    lease: float = 15.0
    """How long lines of a process that died wait for another one."""
    renew_every: float = 4.0
    """A cancelled batch and a revoked key are noticed as often."""
    look_every: float = 2.0
    """For batches that another process was given."""
    retention_days: int = 30
    clean_every: float = 3600.0


@dataclass(frozen=True, slots=True)
class _Work:
    key_id: str
    claim: Claim
    task: asyncio.Task[None]


class BatchRunner:
    """One per process. All methods belong to one event loop."""

    def __init__(
        self,
        repository: BatchRepository,
        batches: Batches,
        keys: Keys,
        perform: Perform,
        metrics: BatchMetrics,
        pace: Pace = Pace(),
    ) -> None:
        self._repository = repository
        self._batches = batches
        self._keys = keys
        self._perform = perform
        self._metrics = metrics
        self._pace = pace
        self._clock = time.monotonic
        self._works: dict[str, _Work] = {}
        self._resting: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._looking: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._clean_at = self._clock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers lines for the length of a block, or until :meth:`stop`."""
        self._looking = asyncio.create_task(self._look_for_work())
        self._tasks = [asyncio.create_task(self._keep_leases())]
        try:
            yield
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Begin nothing new, break off what is under way and let others have it, at once."""
        self._stop.set()
        self._batches.changed.set()
        if self._looking is not None:
            # Not cancelled: a claim that is broken off may have been made, and nobody would give it back.
            await self._looking
        works = list(self._works.values())
        tasks = [*self._tasks, *(work.task for work in works)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._tasks = []
        if works:
            # What cannot be given back now lapses by itself.
            with contextlib.suppress(StorageUnavailable):
                await self._repository.give_back([work.claim for work in works])

    async def _look_for_work(self) -> None:
        while not self._stop.is_set():
            self._batches.changed.clear()
            try:
                await self._tidy_up()
                while self._has_room and await self._begin_one():
                    pass
            except StorageUnavailable:
                log.debug("batches wait for the database")
            except Exception as error:  # noqa: BLE001
                # One batch that cannot be handled may not be the end of all others.
                _tell(error)
            if self._stop.is_set():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.look_every):
                    await self._batches.changed.wait()

    @property
    def _has_room(self) -> bool:
        return not self._stop.is_set() and len(self._works) < self._pace.at_once

    async def _tidy_up(self) -> None:
        if await self._repository.keys_with_work():
            if lapsed := await self._repository.take_back_lapsed():
                log.warning("batch lines taken up again", lines=lapsed)
            for batch_id in await self._repository.finish():
                log.info("batch completed", batch=batch_id)
        if self._clock() >= self._clean_at:
            self._clean_at = self._clock() + self._pace.clean_every
            if gone := await self._repository.delete_older(self._pace.retention_days):
                log.info("batches deleted", batches=gone)

    async def _begin_one(self) -> bool:
        """Claim a line and begin it; False if there is nothing to do now."""
        now = self._clock()
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        keys = await self._repository.keys_with_work()
        idle: set[str] = set()
        running = Counter(work.key_id for work in self._works.values())
        while (key_id := next_key(keys, running, self._resting.keys() | idle)) is not None:
            caller = await self._keys.caller(key_id)
            if caller is None:
                await self._stop_all_of(key_id)
            else:
                token = uuid.uuid4().hex
                claimed = await self._repository.claim(key_id, token, self._pace.lease)
                if claimed is not None:
                    self._begin(in_batch(caller), *claimed)
                    return True
            idle.add(key_id)
        return False

    async def _stop_all_of(self, key_id: str) -> None:
        """A key that is not valid any more has nothing answered."""
        for work in [work for work in self._works.values() if work.key_id == key_id]:
            work.task.cancel()
        for batch_id in await self._repository.in_progress(key_id):
            await self._repository.end(batch_id, BatchState.STOPPED)
            log.info("batch stopped", batch=batch_id, key_id=key_id)

    def _begin(self, caller: Caller, claim: Claim, stored: bytes) -> None:
        task = asyncio.create_task(self._answer(caller, claim, stored))
        self._works[claim.token] = _Work(caller.key_id, claim, task)
        self._metrics.running.inc()
        task.add_done_callback(lambda _: self._ended(claim))

    def _ended(self, claim: Claim) -> None:
        self._works.pop(claim.token, None)
        self._metrics.running.dec()
        self._batches.changed.set()

    async def _answer(self, caller: Caller, claim: Claim, stored: bytes) -> None:
        try:
            await self._answer_and_record(caller, claim, stored)
        except Exception as error:  # noqa: BLE001
            # The line waits until its lease lapses, and is asked again.
            _tell(error)

    async def _answer_and_record(self, caller: Caller, claim: Claim, stored: bytes) -> None:
        line = self._batches.line(claim, stored)
        if line is None:
            await self._record(claim, line, UNREADABLE)
            return
        outcome = await self._perform(caller, claim, line)
        wait = postponement(outcome)
        if wait is None:
            await self._record(claim, line, outcome)
            return
        self._metrics.line("postponed")
        self._resting[caller.key_id] = self._clock() + wait.key
        await self._until_written(lambda: self._repository.give_back([claim], wait.line))

    async def _record(self, claim: Claim, line: Line | None, outcome: Outcome) -> None:
        state = LineState.DONE if outcome.succeeded else LineState.FAILED
        self._metrics.line("done" if outcome.succeeded else "failed")
        result = self._batches.result(claim, line, outcome)
        await self._until_written(lambda: self._repository.record(claim, state, result))

    async def _until_written(self, write: Callable[[], Awaitable[object]]) -> None:
        """What was computed is not thrown away because the database is away for a while."""
        while True:
            try:
                await write()
            except StorageUnavailable:
                await asyncio.sleep(self._pace.look_every)
            else:
                return

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._pace.renew_every)
            try:
                await self._renew()
            except StorageUnavailable:
                continue
            except Exception as error:  # noqa: BLE001
                # Without renewals, lines would be answered twice.
                _tell(error)

    async def _renew(self) -> None:
        works = dict(self._works)
        if not works:
            return
        held = await self._repository.renew(works.keys(), self._pace.lease)
        for token, work in works.items():
            # Cancelled, deleted, or taken over by others.
            if token not in held:
                work.task.cancel()
        for key_id in {work.key_id for work in works.values()}:
            if await self._keys.caller(key_id) is None:
                await self._stop_all_of(key_id)


UNREADABLE = Outcome(
    500,
    "",
    b'{"error":{"message":"This request was sealed with another SECRET_KEY than today\'s.",'
    b'"type":"server_error","param":null,"code":"unreadable"}}',
)


def _tell(error: Exception) -> None:
    """Where a mistake of ours was made; its words stay out of the log, because they may quote users."""
    log.error("batches failed", error=type(error).__name__, where=traceback.format_tb(error.__traceback__))


def in_batch(caller: Caller) -> Caller:
    """The caller of a batch's lines: behind everybody else, and bounded by its tokens.

    How many lines are answered at once, and how soon after each other, is the runner's own affair. If
    they counted as the key's requests, a batch would take them away from the programs that use the key.
    """
    limits = replace(caller.limits, requests_per_minute=None, concurrent_requests=None)
    return replace(caller, priority=PriorityClass.BATCH, limits=limits)
