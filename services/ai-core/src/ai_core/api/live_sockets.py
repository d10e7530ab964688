"""All chat sockets of this process, so that they can be closed in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketBounds:
    """What one client may take. Times in seconds."""

    auth_seconds: float = 10.0
    """To show a key."""
    idle_seconds: float = 300.0
    """Without a request under way or a message."""
    send_seconds: float = 30.0
    """For one message to be taken; a client that reads more slowly is hung up on."""
    at_once: int = 16
    """Requests under way on one connection."""


class LiveSockets:
    """Counts connections. Once ``leaving`` is set, each ends when its requests are answered."""

    def __init__(self, bounds: SocketBounds = SocketBounds()) -> None:
        self.bounds = bounds
        self.count = 0
        self.leaving = asyncio.Event()
        self._nobody = asyncio.Event()
        self._nobody.set()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be counted for the length of a with block."""
        self.count += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self.count -= 1
            if not self.count:
                self._nobody.set()

    async def drain(self) -> None:
        """Close them all, each when its requests are answered; returns when none is left."""
        self.leaving.set()
        await self._nobody.wait()
