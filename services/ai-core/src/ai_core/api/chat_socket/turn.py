"""One request of a chat socket under way, and its answer as messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message

from ai_core.api.answering import unexpected_error
from ai_core.api.chat_socket.frames import (
    accepted,
    error_frame,
    events_in,
    failed,
    retry_after_in,
    tagged,
)
from ai_core.api.inner import Asking, InnerRequest
from ai_core.errors import GenerationFailed

STREAM = b"text/event-stream"

Say = Callable[[str], Awaitable[None]]
"""Sends one message to the client; waits while it reads too slowly."""


class Turn:
    """Implements ASGI's ``send`` for one inner request. Says exactly one ``done`` or ``error``, the last
    thing that it says."""

    def __init__(self, id: str, request: InnerRequest, say: Say) -> None:
        self._id = id
        self._request = request
        self._say = say
        self._asking = Asking(request.body)
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = b""
        self._over = False

    async def run(self, door: ASGIApp) -> None:
        """Ask, and pass on what comes."""
        await door(self._request.scope(), self._asking.receive, self._send)
        if self._over:
            return
        if self._asking.left:
            stopped = GenerationFailed("This request was cancelled, as you asked.", code="cancelled")
            await self._end(error_frame(self._id, stopped))
        else:
            apology = unexpected_error(self._headers.get("x-request-id", ""))
            await self._end(error_frame(self._id, apology))

    def cancel(self) -> None:
        """The answer is not wanted any more; what computes it stops at the next step."""
        self._asking.leave()

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self._streams:
            await self._pass_on(message["body"], last=not message.get("more_body", False))
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._end(self._whole())

    async def _start(self, message: Message) -> None:
        self._status = message["status"]
        self._headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
        }
        if self._status == 200:
            await self._say(accepted(self._id, self._headers.get("x-request-id", "")))

    @property
    def _streams(self) -> bool:
        return self._headers.get("content-type", "").encode().startswith(STREAM)

    async def _pass_on(self, block: bytes, *, last: bool) -> None:
        for event in events_in(block):
            if event.is_error:
                await self._end(failed(self._id, 500, event.data, None))
            elif last:
                await self._end(tagged("done", self._id, event.data))
            else:
                await self._say(tagged("delta", self._id, event.data))

    def _whole(self) -> str:
        if self._status == 200:
            return tagged("done", self._id, self._body)
        return failed(self._id, self._status, self._body, retry_after_in(self._headers))

    async def _end(self, text: str) -> None:
        if not self._over:
            self._over = True
            await self._say(text)
