"""The one call that cannot be repeated without a trace: announced, made, and noted, in this order.

Between the call and the note nothing may be given up that is not lost already. So the end of a process waits
for the reply of a call under way, and a database that is away is waited for with what the reply said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Part, PartState
from servicekit.storage.database import StorageUnavailable
from telegram_service.dialogue.incoming import Place
from telegram_service.messenger.port import Messenger, Outgoing

REPLY_SECONDS = 5.0
"""Somebody who is told to stop waits so long for the reply of a call that is out."""


class Outbox:
    """One for all lanes of this process."""

    def __init__(
        self, messenger: Messenger, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._messenger = messenger
        self._sleep = sleep
        self._out: dict[int, str] = {}
        """By part: the ids of messages that are out and could not be noted yet."""

    async def send(
        self, lane: HeldLane, part: Part, place: Place, outgoing: Outgoing, *, complete: bool
    ) -> Part:
        """Send a message that is not out yet.

        Args:
            complete: whether nothing is to be changed there any more.

        Returns:
            The part, sent or streaming. It is streaming although ``complete`` where it was out already, with
            whatever text.

        Raises:
            MessengerError: as ``Messenger.send``; the part is still marked as being sent.
            LaneLost, StorageUnavailable: as the journal, before the call only.
        """
        if part.state is PartState.SENDING and part.id in self._out:
            part = await lane.streaming(part, self._out[part.id])
            self._out.pop(part.id, None)
            return part
        self._out.pop(part.id, None)
        part = await lane.sending(part)
        going = asyncio.ensure_future(self._send(lane, part, place, outgoing, complete=complete))
        try:
            return await asyncio.shield(going)
        except asyncio.CancelledError:
            await asyncio.wait({going}, timeout=REPLY_SECONDS)
            if not going.cancel():
                # Whatever it was, it is noted, or the part says that nobody knows.
                going.exception()
            raise

    async def _send(
        self, lane: HeldLane, part: Part, place: Place, outgoing: Outgoing, *, complete: bool
    ) -> Part:
        message_id = str(await self._messenger.send(place, outgoing))
        # Somebody else of this process may hold the lane by the time that the database is back.
        self._out[part.id] = message_id
        while True:
            try:
                note = lane.sent if complete else lane.streaming
                noted = await note(part, message_id)
            except StorageUnavailable as error:
                await self._sleep(error.retry_after)
            else:
                self._out.pop(part.id, None)
                return noted
