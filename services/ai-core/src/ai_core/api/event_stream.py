"""Server-sent events over ASGI, written piece by piece.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import Send

from ai_core.api.exchange import Exchange

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would collect the events and hand them on in bulk.
    (b"x-accel-buffering", b"no"),
]
COMMENT = b": still here\n\n"
STALL_SECONDS = 60.0


def event(data: bytes) -> bytes:
    """One event. ``data`` is JSON, which has no line breaks of its own."""
    return b"data: " + data + b"\n\n"


def error_event(data: bytes) -> bytes:
    """The event that ends a stream which cannot go on."""
    return b"event: error\ndata: " + data + b"\n\n"


class EventStream:
    """The response of one request: nothing is sent before ``start``."""

    def __init__(self, send: Send, exchange: Exchange, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._exchange = exchange
        self._clock = clock
        self._writing_since: float | None = None
        self.started = False

    @property
    def complete(self) -> bool:
        """The last byte has been handed over."""
        return self._exchange.complete

    async def start(self) -> None:
        """Send status 200 and the headers."""
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})

    async def write(self, events: bytes, *, last: bool = False) -> None:
        """Send one or more whole events; waits while the client reads too slowly."""
        self._writing_since = self._clock()
        await self._send({"type": "http.response.body", "body": events, "more_body": not last})
        self._writing_since = None

    def stalled(self) -> bool:
        """Whether one write has been waiting for longer than 60 seconds."""
        return self._writing_since is not None and self._clock() - self._writing_since > STALL_SECONDS

    async def keep_alive(self) -> None:
        """A comment, which clients skip, unless a write is waiting anyway."""
        if self.started and self._writing_since is None and not self.complete:
            await self._send({"type": "http.response.body", "body": COMMENT, "more_body": True})
