"""The one call that cannot be repeated without a trace: announced, made, and noted, in this order.

Between the call and the note nothing may be given up that is not lost already. So the end of a process waits
for the reply of a call under way, and a database that is away is waited for with what the reply said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from servicekit.journal.heard_out import heard_out
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Part, PartState
from servicekit.storage.database import StorageUnavailable
from telegram_service.dialogue.incoming import Place
from telegram_service.messenger.port import Messenger, Outgoing, Refused

REPLY_SECONDS = 5.0
"""Somebody who is told to stop waits so long for the reply of a call that is out."""
MOST_FILE_BYTES = 50_000_000
"""Of what a bot may send (https://core.telegram.org/bots/api#senddocument)."""

Export = Callable[[int], Awaitable[bytes | None]]
"""What is kept about somebody, by their number, as a file; None: nothing."""


async def nothing_to_export(_person_id: int) -> bytes | None:
    """For those who never send a file."""
    return None


class Outbox:
    """One for all lanes of this process."""

    def __init__(
        self,
        messenger: Messenger,
        *,
        export: Export = nothing_to_export,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._messenger = messenger
        self._export = export
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
            MessengerError: as ``Messenger.send``; the part may still be marked as being sent.
            LaneLost, StorageUnavailable: as the journal, before the call only.
        """
        if part.state is PartState.SENDING and part.id in self._out:
            part = await lane.streaming(part, self._out[part.id])
            self._out.pop(part.id, None)
            return part
        self._out.pop(part.id, None)
        content = await self._file(place, outgoing)
        part = await lane.sending(part)
        going = self._send(lane, part, place, outgoing, content, complete=complete)
        return await heard_out(going, REPLY_SECONDS)

    async def _file(self, place: Place, outgoing: Outgoing) -> bytes:
        """What is to go out as a document; empty: a message. Raises Refused, StorageUnavailable."""
        if not outgoing.file:
            return b""
        # It is asked for in private only: the chat's number is the person's.
        content = await self._export(place.chat_id)
        if not content or len(content) > MOST_FILE_BYTES:
            raise Refused("there is no file that Telegram would take")
        return content

    async def _send(
        self, lane: HeldLane, part: Part, place: Place, outgoing: Outgoing, content: bytes, *, complete: bool
    ) -> Part:
        if content:
            message_id = str(await self._messenger.send_file(place, outgoing.file, content))
        else:
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
