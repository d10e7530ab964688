"""What the mail server has said is never forgotten, whatever else is away or comes to an end."""

from __future__ import annotations

import asyncio

import pytest

from mail_service.answering.outbox import Outbox
from mail_service.sending.port import Access, NotSent, OutgoingMail, Unknown
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.records import Part, PartState
from servicekit.storage.database import StorageUnavailable

MAIL = OutgoingMail("neo@example.test", "anne@people.test", b"From: ...")


class Server:
    """An outlet that says what it is told to, once it is let."""

    def __init__(self, says: Exception | None = None) -> None:
        self.says = says
        self.taken = 0
        self.may_say = asyncio.Event()
        self.may_say.set()
        self.heard = asyncio.Event()

    async def send(self, mail: OutgoingMail) -> None:
        self.heard.set()
        await self.may_say.wait()
        if self.says is not None:
            raise self.says
        self.taken += 1

    async def ping(self) -> float:
        return 0.0

    async def look(self) -> Access:
        return Access.OK

    @property
    def access(self) -> Access | None:
        return None

    async def close(self) -> None:
        """Nothing is open."""


class Lane:
    """As much of a lane as an outbox needs; its database can be away, and somebody else can have it."""

    def __init__(self) -> None:
        self.part = Part(1, 1, 0, PartState.OPEN, b"", "", 0)
        self.away = 0
        """So many of the next notes fail."""
        self.lost = False

    async def sending(self, part: Part) -> Part:
        return self._move(PartState.SENDING, part.repeats + (part.state is PartState.SENDING))

    async def sent(self, part: Part, external_id: str | None = None, *, also: object = None) -> Part:
        return self._note(PartState.SENT)

    async def unsent(self, part: Part) -> Part:
        return self._note(PartState.OPEN)

    def _note(self, state: PartState) -> Part:
        if self.away:
            self.away -= 1
            raise StorageUnavailable("away", retry_after=0.0)
        if self.lost:
            raise LaneLost
        return self._move(state, self.part.repeats)

    def _move(self, state: PartState, repeats: int) -> Part:
        self.part = Part(1, 1, 0, state, b"", "", repeats)
        return self.part


async def nothing_else(connection: object) -> None:
    """Stored together with the note."""


async def send(outbox: Outbox, lane: Lane, server: Server) -> Part:
    held: HeldLane = lane  # type: ignore[assignment]
    return await outbox.send(held, lane.part, server, MAIL, nothing_else)


async def recall(outbox: Outbox, lane: Lane) -> Part:
    held: HeldLane = lane  # type: ignore[assignment]
    return await outbox.recall(held, lane.part, nothing_else)


async def test_a_database_that_is_away_is_waited_for_with_the_servers_word() -> None:
    lane, server = Lane(), Server()
    lane.away = 3
    assert (await send(Outbox(), lane, server)).state is PartState.SENT
    assert server.taken == 1


async def test_what_did_not_leave_is_open_again_even_then() -> None:
    lane = Lane()
    lane.away = 2
    with pytest.raises(NotSent):
        await send(Outbox(), lane, Server(NotSent("busy")))
    assert lane.part.state is PartState.OPEN
    assert lane.part.repeats == 0


async def test_what_nobody_knows_stays_as_it_is() -> None:
    lane = Lane()
    with pytest.raises(Unknown):
        await send(Outbox(), lane, Server(Unknown("lost")))
    assert lane.part.state is PartState.SENDING


async def test_who_loses_the_lane_tells_whoever_holds_it_next_in_this_process() -> None:
    outbox, lane, server = Outbox(), Lane(), Server()
    lane.lost = True
    with pytest.raises(LaneLost):
        await send(outbox, lane, server)
    lane.lost = False
    assert lane.part.state is PartState.SENDING
    assert (await recall(outbox, lane)).state is PartState.SENT
    assert (await recall(Outbox(), Lane())).state is PartState.OPEN


async def test_the_end_of_a_process_waits_for_the_last_word() -> None:
    lane, server = Lane(), Server()
    server.may_say.clear()
    sending = asyncio.create_task(send(Outbox(), lane, server))
    await server.heard.wait()
    sending.cancel()
    await asyncio.sleep(0)
    server.may_say.set()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert lane.part.state is PartState.SENT
