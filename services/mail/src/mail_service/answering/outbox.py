"""The one call that cannot be repeated without a trace: announced, made, and noted, in this order.

Between the call and the note nothing may be given up that is not lost already. So the end of a process waits
for the server's last word on a mail that is going out, and a database that is away is waited for with what
the server said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mail_service.sending.port import NotSent, OutgoingMail, Outlet, Refused
from servicekit.journal.heard_out import heard_out
from servicekit.journal.lane import Also, HeldLane
from servicekit.journal.records import Part, PartState
from servicekit.storage.database import StorageUnavailable

LAST_WORD_SECONDS = 5.0
"""Somebody who is told to stop waits so long for it."""


class Outbox:
    """One for all lanes of this process."""

    def __init__(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._ends: dict[int, bool] = {}
        """By part: whether the server has taken the mail, where that could not be noted yet."""

    async def recall(self, lane: HeldLane, part: Part, also: Also) -> Part:
        """The part as this process knows it: somebody may have lost the lane with the server's word in hand.
        Raises LaneLost, StorageUnavailable."""
        taken = self._ends.get(part.id)
        if taken is not None and part.state is PartState.SENDING:
            part = await (lane.sent(part, also=also) if taken else lane.unsent(part))
        self._ends.pop(part.id, None)
        return part

    async def send(self, lane: HeldLane, part: Part, outlet: Outlet, mail: OutgoingMail, also: Also) -> Part:
        """Send a mail that is not out yet, as far as anybody knows.

        Args:
            also: what is stored together with the server's yes.

        Raises:
            NotSent, Refused: the part is open again.
            Unknown: the part is still marked as being sent.
            LaneLost: another process holds the lane by now.
            StorageUnavailable: before the call only.
        """
        part = await lane.sending(part)
        return await heard_out(self._send(lane, part, outlet, mail, also), LAST_WORD_SECONDS)

    async def _send(self, lane: HeldLane, part: Part, outlet: Outlet, mail: OutgoingMail, also: Also) -> Part:
        try:
            await outlet.send(mail)
        except (NotSent, Refused):
            await self._note(part, taken=False, note=lambda: lane.unsent(part))
            raise
        return await self._note(part, taken=True, note=lambda: lane.sent(part, also=also))

    async def _note(self, part: Part, *, taken: bool, note: Callable[[], Awaitable[Part]]) -> Part:
        self._ends[part.id] = taken
        while True:
            try:
                noted = await note()
            except StorageUnavailable as error:
                await self._sleep(error.retry_after)
            else:
                self._ends.pop(part.id, None)
                return noted
