"""Sends the parts of an answer that is stored, each once as far as that can be known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from servicekit.journal.lane import HeldLane
from servicekit.journal.records import UNFINISHED, Entry, Part, PartState
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.sending import Export, Outbox, nothing_to_export
from telegram_service.dialogue.incoming import Place
from telegram_service.formatting.messages import TelegramMessage
from telegram_service.messenger.pacing import Pacer
from telegram_service.messenger.port import (
    FormatRefused,
    MessageGone,
    Messenger,
    Moved,
    NotSent,
    Outgoing,
    Refused,
    TooSoon,
    Unknown,
    Unreachable,
)

FIRST_RETRY_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 5.0
"""A worker waits so long for its turn to send; for a longer one, it lets the lane go meanwhile."""

MOST_TRIES = 4
"""Of what somebody waits for just now, and that is not kept in the journal."""

Outcome = Literal["delivered", "unreachable", "refused"]


@dataclass(frozen=True, slots=True)
class Later:
    """It cannot be sent just now."""

    seconds: float
    reason: str


class Deliverer:
    """One for all lanes: the limits of Telegram hold for all of them together."""

    def __init__(
        self,
        messenger: Messenger,
        envelopes: Envelopes,
        pacer: Pacer,
        *,
        export: Export = nothing_to_export,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``export`` gives what is kept about somebody."""
        self.outbox = Outbox(messenger, export=export, sleep=sleep)
        self._messenger = messenger
        self._envelopes = envelopes
        self._pacer = pacer
        self._sleep = sleep

    async def deliver(self, lane: HeldLane, entry: Entry, place: Place) -> Outcome | Later:
        """Send what is still to be sent, in order.

        Returns:
            Other than "delivered": what is not out is as it was, for whoever closes the entry.

        Raises:
            LaneLost, StorageUnavailable.
        """
        for part in await lane.parts(entry):
            if part.state not in UNFINISHED:
                continue
            found = await self._deliver_part(lane, part, place)
            if isinstance(found, Moved):
                place = replace(place, chat_id=found.chat_id)
                return await self.deliver(lane, entry, place)
            if found != "delivered":
                return found
        return "delivered"

    async def wait_turn(self, chat_id: int) -> Later | None:
        """Wait until a call may be made in a chat; Later, where that would take too long."""
        for turn in (partial(self._pacer.in_chat, chat_id), self._pacer.overall):
            wait = await turn(LONGEST_WAIT_SECONDS)
            if wait > LONGEST_WAIT_SECONDS:
                return Later(wait, "Telegram's limits")
            if wait > 0:
                await self._sleep(wait)
        return None

    async def may_edit(self, chat_id: int) -> bool:
        """Whether a message under way may be shown as it is now; if so, this counts as a call."""
        wait = await self._pacer.at_leisure(chat_id)
        if wait:
            await self._sleep(wait)
        return wait is not None

    async def busy_for(self, chat_id: int) -> float:
        """Seconds for which a chat takes no call, as far as anybody knows; nothing is booked."""
        return await self._pacer.busy_for(chat_id)

    async def note(self, chat_id: int, refusal: TooSoon) -> None:
        """Telegram refused a call."""
        await self._pacer.silence(chat_id, refusal.seconds)

    async def show(self, place: Place, message_id: int, outgoing: Outgoing) -> None:
        """Show something else in the place of a message of ours: the answer to a button. It is tried again
        when its turn comes, which does no harm. Raises MessengerError, where it cannot be done even so."""
        for tries in range(MOST_TRIES):
            wait = FIRST_RETRY_SECONDS
            if (later := await self.wait_turn(place.chat_id)) is None:
                try:
                    return await self._messenger.edit(place, message_id, outgoing)
                except (TooSoon, NotSent, Unknown) as error:
                    if tries + 1 == MOST_TRIES:
                        raise
                    if isinstance(error, TooSoon):
                        await self.note(place.chat_id, error)
                        wait = error.seconds
            await self._sleep(min(LONGEST_WAIT_SECONDS, wait if later is None else later.seconds))
        raise NotSent("Telegram's limits")

    async def _deliver_part(self, lane: HeldLane, part: Part, place: Place) -> Outcome | Later | Moved:
        if (later := await self.wait_turn(place.chat_id)) is not None:
            return later
        outgoing = self._envelopes.open_answer(part.content)
        if part.state is PartState.STREAMING:
            return await self._complete(lane, part, place, outgoing)
        return await self._send(lane, part, place, outgoing)

    async def _send(
        self, lane: HeldLane, part: Part, place: Place, outgoing: Outgoing
    ) -> Outcome | Later | Moved:
        try:
            noted = await self.outbox.send(lane, part, place, outgoing, complete=True)
        except FormatRefused:
            return await self._send(lane, await lane.unsent(part), place, _plain(outgoing))
        except (TooSoon, NotSent, Moved) as error:
            await lane.unsent(part)
            return error if isinstance(error, Moved) else await self._later(place, error)
        except Unknown:
            await lane.unknown(part)
        except (Unreachable, Refused) as error:
            part = await lane.unsent(part)
            if outgoing.file and isinstance(error, Refused):
                return await self._send(lane, part, place, replace(outgoing, file=""))
            return _outcome_of(error)
        else:
            if noted.state is PartState.STREAMING:
                return await self._complete(lane, noted, place, outgoing)
        return "delivered"

    async def _complete(
        self, lane: HeldLane, part: Part, place: Place, outgoing: Outgoing
    ) -> Outcome | Later | Moved:
        if not outgoing.file:
            return await self._finish(lane, part, place, outgoing)
        # It is out as it is: there is no text that could change.
        await lane.sent(part)
        return "delivered"

    async def _finish(
        self, lane: HeldLane, part: Part, place: Place, outgoing: Outgoing
    ) -> Outcome | Later | Moved:
        """Give a message that is out its final text; that may be repeated at will."""
        await lane.renew()
        try:
            await self._messenger.edit(place, int(part.external_id), outgoing)
        except FormatRefused:
            return await self._finish(lane, part, place, _plain(outgoing))
        except MessageGone:
            # Somebody has deleted it, or it is too old: the answer has to arrive all the same.
            return await self._send(lane, part, place, outgoing)
        except (TooSoon, NotSent, Unknown) as error:
            return await self._later(place, error)
        except Moved as error:
            return error
        except (Unreachable, Refused) as error:
            return _outcome_of(error)
        await lane.sent(part)
        return "delivered"

    async def _later(self, place: Place, error: TooSoon | NotSent | Unknown) -> Later:
        if isinstance(error, TooSoon):
            await self.note(place.chat_id, error)
            return Later(error.seconds, "Telegram's limits")
        # As what it is put off, operators see.
        reason = str(error) if isinstance(error, NotSent) else "Telegram cannot be reached"
        return Later(FIRST_RETRY_SECONDS, reason)


def _outcome_of(error: Unreachable | Refused) -> Outcome:
    return "unreachable" if isinstance(error, Unreachable) else "refused"


def _plain(outgoing: Outgoing) -> Outgoing:
    return replace(outgoing, message=TelegramMessage(outgoing.message.text))
