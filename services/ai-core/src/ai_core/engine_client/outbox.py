"""Frames on their way to the engine."""

from __future__ import annotations

import asyncio
import socket

HIGH_WATER_BYTES = 1024 * 1024
"""From this much on, new requests wait until the engine has read some."""


class Outbox:
    """Writes whole frames to a non-blocking socket, in order.

    A write that fails is not reported: the engine is gone then, and the reading side says so, after
    it has read everything that the engine said before.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._waiting = bytearray()
        self._sending = 0
        """Bytes handed to the socket that it has not taken yet."""
        self._flushing: asyncio.Task[None] | None = None
        self._broken = False

    def write(self, frame: bytes) -> None:
        """Send a frame as soon as the socket takes it."""
        if self._broken:
            return
        self._waiting += frame
        if self._flushing is None:
            self._send_at_once()

    async def room(self) -> None:
        """Once :data:`HIGH_WATER_BYTES` wait, wait until all are sent, or nothing can be sent any more."""
        while self._flushing is not None and len(self._waiting) + self._sending >= HIGH_WATER_BYTES:
            await asyncio.wait({self._flushing})

    async def close(self) -> None:
        """Forget what is waiting."""
        self._break()
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait({self._flushing})

    def _send_at_once(self) -> None:
        try:
            del self._waiting[: self._socket.send(self._waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self._break()
        if self._waiting:
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                piece = bytes(self._waiting)
                self._waiting.clear()
                self._sending = len(piece)
                await loop.sock_sendall(self._socket, piece)
        except OSError:
            self._break()
        finally:
            self._flushing = None

    def _break(self) -> None:
        self._broken = True
        self._waiting.clear()
