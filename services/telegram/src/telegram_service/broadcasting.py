"""Carries broadcasts out: one message after the other, each once, and never in the way of an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from servicekit.journal.journal import Journal
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.logging import get_logger
from servicekit.storage.database import StorageUnavailable
from servicekit.storage.sealing import Unreadable
from telegram_service.answering.delivering import Deliverer
from telegram_service.answering.envelopes import Envelopes
from telegram_service.dialogue.incoming import Place
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages
from telegram_service.messenger.port import (
    Messenger,
    MessengerError,
    NotSent,
    Outgoing,
    Refused,
    TooSoon,
    Unknown,
    Unreachable,
)
from telegram_service.storage.broadcasts import Broadcast, Broadcasts, BroadcastState, Fate
from telegram_service.storage.people import People

LANE = "!broadcast"
"""Held by the one process that sends."""
LEASE_SECONDS = 10.0
"""After which another process goes on for one that died."""
NOBODY = -1
"""Below everybody's number."""
LOOK_SECONDS = 2.0
"""So often it is looked whether there is something to send."""
GAP_SECONDS = 0.1
"""Between two messages: a third of what Telegram lets through, so most is left to answers."""
RENEW_SECONDS = 5.0
"""So often the lane is held anew, a fraction of its lease."""
RETRY_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 15.0
"""Then the lane is held anew."""

_log = get_logger(__name__)


class Broadcaster:
    """One for the process; of several processes, one at a time sends."""

    def __init__(
        self,
        *,
        journal: Journal,
        broadcasts: Broadcasts,
        people: People,
        messenger: Messenger,
        deliverer: Deliverer,
        envelopes: Envelopes,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._journal = journal
        self._broadcasts = broadcasts
        self._people = people
        self._messenger = messenger
        self._deliverer = deliverer
        self._envelopes = envelopes
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Send what is to be sent, until cancelled."""
        while True:
            try:
                await self.work()
            except LaneLost:
                _log.warning("another process sends the broadcast")
            except StorageUnavailable:
                _log.warning("broadcast interrupted", reason="the database is away")
            await self._sleep(LOOK_SECONDS)

    async def work(self) -> None:
        """Send all there is now. Raises LaneLost, StorageUnavailable."""
        while (broadcast := await self._broadcasts.current()) is not None:
            lane = await self._journal.hold(LANE)
            if lane is None:
                return
            try:
                await self._carry_out(lane, broadcast)
            finally:
                await lane.release()

    async def _carry_out(self, lane: HeldLane, broadcast: Broadcast) -> None:
        if broadcast.state is BroadcastState.RUNNING:
            await self._broadcasts.resume(broadcast.id)
            await self._send_to_all(lane, broadcast)
            counts = await self._broadcasts.counts(broadcast.id)
            await self._broadcasts.conclude(broadcast.id, counts)
            _log.info("broadcast sent", **counts)
            return
        await self._report(broadcast)

    async def _send_to_all(self, lane: HeldLane, broadcast: Broadcast) -> None:
        try:
            outgoing = self._envelopes.open_answer(broadcast.content)
        except Unreadable:
            await self._broadcasts.stop(broadcast.id, broadcast.admin_id)
            _log.error("broadcast stopped", reason="SECRET_KEY has changed")
            return
        await lane.renew()
        held_at, last = self._clock(), NOBODY
        while True:
            person_id = await self._broadcasts.following(broadcast.id, after=last)
            if person_id is None and last == NOBODY:
                return
            last = NOBODY if person_id is None else person_id
            if self._clock() - held_at > RENEW_SECONDS:
                await lane.renew()
                held_at = self._clock()
            if person_id is not None:
                await self._send_to(broadcast.id, person_id, outgoing)
                await self._sleep(GAP_SECONDS)

    async def _send_to(self, number: int, person_id: int, outgoing: Outgoing) -> None:
        # Where answers have booked the next calls, they go first: this recipient comes up again.
        if await self._deliverer.may_edit(person_id) and await self._broadcasts.claim(number, person_id):
            fate = await self._send(person_id, outgoing)
            await self._broadcasts.mark(number, person_id, fate)

    async def _send(self, person_id: int, outgoing: Outgoing) -> Fate:
        try:
            await self._messenger.send(Place(person_id), outgoing)
        except (TooSoon, NotSent) as error:
            if isinstance(error, TooSoon):
                await self._deliverer.note(person_id, error)
            await self._sleep(_wait_after(error))
            return Fate.OPEN
        except Unknown:
            return Fate.UNKNOWN
        except Unreachable:
            await self._people.mark(person_id, reachable=False)
            return Fate.BLOCKED
        except MessengerError:
            return Fate.REFUSED
        return Fate.SENT

    async def _report(self, broadcast: Broadcast) -> None:
        """Tell who sent it how it went; rather twice than never."""
        text = phrase(
            Phrase.BROADCAST_REPORT,
            broadcast.language,
            **{fate.value: broadcast.counts.get(fate, 0) for fate in Fate},
        )
        (message,) = to_messages(read_markdown(text))
        if (later := await self._deliverer.wait_turn(broadcast.admin_id)) is not None:
            await self._sleep(min(LONGEST_WAIT_SECONDS, later.seconds))
            return
        try:
            await self._messenger.send(Place(broadcast.admin_id), Outgoing(message))
        except (Unreachable, Refused):
            _log.warning("broadcast not reported", reason="who sent it cannot be reached")
        except MessengerError as error:
            if isinstance(error, TooSoon):
                await self._deliverer.note(broadcast.admin_id, error)
            await self._sleep(_wait_after(error))
            return
        await self._broadcasts.close(broadcast.id)


def _wait_after(error: MessengerError) -> float:
    return min(LONGEST_WAIT_SECONDS, error.seconds) if isinstance(error, TooSoon) else RETRY_SECONDS
