"""Frames leave in order, and an engine that does not read holds new requests up instead of filling memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from ai_core.engine_client.outbox import HIGH_WATER_BYTES, Outbox

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


async def read(theirs: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await asyncio.get_running_loop().sock_recv(theirs, size - len(data))
    return data


async def test_a_frame_that_the_socket_takes_is_sent_at_once(ends: Ends) -> None:
    outbox = Outbox(ends[0])
    outbox.write(b"abc")
    assert ends[1].recv(10) == b"abc"


async def test_new_requests_wait_for_room_and_short_messages_do_not(ends: Ends) -> None:
    outbox = Outbox(ends[0])
    large = b"x" * 2 * HIGH_WATER_BYTES
    outbox.write(large)
    outbox.write(large)
    room = asyncio.create_task(outbox.room())
    outbox.write(b"short")
    await asyncio.sleep(0)
    assert not room.done()
    assert await read(ends[1], 2 * len(large) + 5) == large + large + b"short"
    await room


async def test_when_the_other_side_is_gone_nothing_waits_and_nothing_is_raised(ends: Ends) -> None:
    outbox = Outbox(ends[0])
    for _ in range(2):
        outbox.write(b"x" * 2 * HIGH_WATER_BYTES)
    ends[1].close()
    await outbox.room()
    outbox.write(b"more")
    await outbox.close()


async def test_closing_forgets_what_nobody_read(ends: Ends) -> None:
    outbox = Outbox(ends[0])
    for _ in range(2):
        outbox.write(b"x" * 2 * HIGH_WATER_BYTES)
    await outbox.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
