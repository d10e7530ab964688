"""Workers: each claims a lane, works on what is due there, and lets it go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from servicekit.journal.gate import Gate
from servicekit.journal.journal import LEASE_SECONDS, Journal
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.wakeups import Wakeups
from servicekit.logging import get_logger
from servicekit.storage.database import StorageUnavailable

IDLE_SECONDS = 0.5
"""How long nobody looks when nothing rings: what was put off becomes due in silence."""
PAUSE_SECONDS = 1.0
"""How long a lane rests after its worker failed: what fails at once must not keep a worker busy."""
RENEWALS_PER_LEASE = 3

_log = get_logger(__name__)

Handle = Callable[[HeldLane], Awaitable[None]]
"""Works on one lane until nothing is due there. What it raises is logged, and the lane let go: the entry
comes up again with the next claim, so whoever handles it counts attempts first (``HeldLane.begin``)."""


class Crew:
    """A fixed number of workers in this process.

    Args:
        journal: whose lanes they claim.
        handle: what they do with one.
        workers: how many lanes are worked on at once.
        lease_seconds: as of the journal.
        gate: says when the next lane may be begun; None: at once.
    """

    def __init__(
        self,
        journal: Journal,
        handle: Handle,
        wakeups: Wakeups,
        *,
        workers: int,
        lease_seconds: float = LEASE_SECONDS,
        gate: Gate | None = None,
    ) -> None:
        self._journal = journal
        self._handle = handle
        self._wakeups = wakeups
        self._workers = workers
        self._gate = gate
        self._renew_seconds = lease_seconds / RENEWALS_PER_LEASE
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False
        self._hurry = asyncio.Event()
        self._looking = asyncio.Lock()

    def start(self) -> None:
        """Begin to work."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]

    async def stop(self, grace: float = 0.0) -> None:
        """Take nothing new; after ``grace`` seconds break off what runs. All lanes are let go at once, so
        that others can go on."""
        self._ending = True
        self._wakeups.ring()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
            self._hurry.set()
            await asyncio.wait(self._tasks)

    async def _work(self) -> None:
        while not self._ending:
            try:
                # One looks for all who are idle: if each did, every message would be looked for by each.
                async with self._looking:
                    lane = await self._next_lane()
                if lane is not None:
                    await self._work_on(lane)
            except Exception:  # noqa: BLE001 - whatever it was, work must go on
                # A worker that ended here would be missed by nobody, and with the last all work would end.
                _log.exception("worker failed")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_SECONDS):
                        await self._hurry.wait()

    async def _next_lane(self) -> HeldLane | None:
        """The next that can be worked on; None: the crew is ending."""
        while not self._ending:
            if self._gate is not None and (wait := self._gate.wait()) > 0:
                await asyncio.sleep(wait)
                continue
            bell = self._wakeups.listen()
            try:
                lane = await self._journal.claim()
            except StorageUnavailable as error:
                await bell.wait(error.retry_after)
                continue
            if lane is not None:
                if self._gate is not None:
                    self._gate.begun()
                return lane
            await bell.wait(IDLE_SECONDS)
        return None

    async def _work_on(self, lane: HeldLane) -> None:
        handling = asyncio.ensure_future(self._handle(lane))
        keeping = asyncio.create_task(self._keep(lane))
        hurrying = asyncio.create_task(self._hurry.wait())
        tasks: set[asyncio.Future[Any]] = {handling, keeping, hurrying}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        failed = not handling.cancelled() and handling.exception() is not None
        await self._let_go(lane, PAUSE_SECONDS if failed else 0.0)
        self._report(handling)

    async def _keep(self, lane: HeldLane) -> None:
        """Renew the lease as long as the work takes; ends when the lane is lost."""
        while True:
            await asyncio.sleep(self._renew_seconds)
            try:
                await lane.renew()
            except LaneLost:
                return
            except StorageUnavailable:
                # The lease may outlast this; whether it did is seen with the next write.
                continue

    async def _let_go(self, lane: HeldLane, pause: float) -> None:
        try:
            await lane.release(pause)
        except StorageUnavailable:
            _log.warning("lane not released", reason="the database is away; its lease ends by itself")

    @staticmethod
    def _report(handling: asyncio.Future[None]) -> None:
        error = None if handling.cancelled() else handling.exception()
        if isinstance(error, LaneLost):
            _log.warning("lane lost")
        elif isinstance(error, StorageUnavailable):
            _log.warning("work interrupted", reason="the database is away")
        elif error is not None:
            _log.error("work failed", exc_info=error)
