"""Sees that each folder is watched, by one process at a time."""

from __future__ import annotations

import asyncio

from mail_service import lanes
from mail_service.mailbox.port import Mailbox, Receiver
from servicekit.journal.journal import LEASE_SECONDS, Journal
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.logging import get_logger
from servicekit.storage.database import StorageUnavailable

_RENEWALS_PER_LEASE = 3
_log = get_logger(__name__)


class Watcher:
    """Watches one folder whenever nobody else does."""

    def __init__(
        self, journal: Journal, mailbox: Mailbox, receiver: Receiver, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        """``lease_seconds``: as of the journal."""
        self._journal = journal
        self._mailbox = mailbox
        self._receiver = receiver
        self._pause = lease_seconds / _RENEWALS_PER_LEASE
        self.holding = False
        """Whether it is this process that watches."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            lane = await self._hold()
            if lane is None:
                await asyncio.sleep(self._pause)
                continue
            self.holding = True
            try:
                await self._watch(lane)
            finally:
                self.holding = False
                await self._let_go(lane)

    async def _hold(self) -> HeldLane | None:
        try:
            return await self._journal.hold(lanes.watch(self._mailbox.name))
        except StorageUnavailable:
            return None

    async def _watch(self, lane: HeldLane) -> None:
        """Until the lane is lost, or cancelled."""
        watching = asyncio.create_task(self._mailbox.watch(self._receiver))
        keeping = asyncio.create_task(self._keep(lane))
        try:
            await asyncio.wait({watching, keeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (watching, keeping):
                task.cancel()
            await asyncio.wait({watching, keeping})
        if not watching.cancelled() and (error := watching.exception()) is not None:
            _log.error("watching failed", exc_info=error)
            await asyncio.sleep(self._pause)

    async def _keep(self, lane: HeldLane) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await lane.renew()
            except LaneLost:
                _log.warning("another process watches this folder now")
                return
            except StorageUnavailable:
                # Nothing can be taken in meanwhile either.
                continue

    @staticmethod
    async def _let_go(lane: HeldLane) -> None:
        try:
            await lane.release()
        except StorageUnavailable:
            _log.warning("folder not released", reason="the database is away; the lease ends by itself")
