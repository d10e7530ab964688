"""A connection whose other end the test holds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from ai_core.engine.messages import FrameReader, Message, ToEngine, decode_to_engine, encode
from ai_core.engine_client.socket_engine import SocketEngine


class Peer:
    """The engine's end of the socket, word by word."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._frames = FrameReader()
        self._heard: list[ToEngine] = []

    async def say(self, *messages: Message) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.connection, b"".join(map(encode, messages)))

    async def hear(self) -> ToEngine:
        while not self._heard:
            data = await asyncio.get_running_loop().sock_recv(self.connection, 1 << 20)
            assert data, "the other side hung up"
            self._heard += [decode_to_engine(body) for body in self._frames.feed(data)]
        return self._heard.pop(0)

    def hang_up(self) -> None:
        self.connection.close()


@pytest.fixture
async def connection() -> AsyncIterator[tuple[SocketEngine, Peer]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    engine, peer = SocketEngine(ours), Peer(theirs)
    yield engine, peer
    peer.hang_up()
    await engine.close()


@pytest.fixture
def engine(connection: tuple[SocketEngine, Peer]) -> SocketEngine:
    return connection[0]


@pytest.fixture
def peer(connection: tuple[SocketEngine, Peer]) -> Peer:
    return connection[1]
