"""A request to our own application without a socket of its own: a message of a WebSocket, a line of a batch.

It passes through everything that a request from outside passes: the gate, limits, parsing, errors, the
log line and the metrics. So there is no second way into this service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from ai_core.access.caller import Caller

_CALLER = "neo.vouched_caller"
_FACTS = "neo.facts"
_FRONT_DOOR = "neo.front_door"

RawHeaders = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerRequest:
    """A POST of JSON. ``headers`` are further ones, in ASGI's form."""

    path: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    client: tuple[str, int] | None = None
    caller: Caller | None = None
    """Who asks, where that is known already: then the gate asks for no key."""
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Fields of the log line."""

    def scope(self) -> Scope:
        """As uvicorn would make it."""
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode("ascii"),
            "query_string": b"",
            "root_path": "",
            "headers": [
                *self.headers,
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(self.body)),
            ],
            "client": self.client,
            "server": None,
            "state": {},
            _FACTS: self.facts,
        }
        if self.caller is not None:
            scope[_CALLER] = self.caller
        return scope


class Asking:
    """ASGI's ``receive`` of an inner request: its body, and then nothing until the asker leaves."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Nobody wants the answer any more."""
        self._left.set()

    @property
    def left(self) -> bool:
        """Whether :meth:`leave` was called."""
        return self._left.is_set()

    async def receive(self) -> Message:
        """As ASGI has it."""
        if self._body is not None and not self.left:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}


@dataclass(slots=True)
class WholeResponse:
    """A response as it was sent. ``status`` 0: none was."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    async def send(self, message: Message) -> None:
        """As ASGI has it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message.get("headers", ()))
        else:
            self.body += message.get("body", b"")


async def ask(app: ASGIApp, request: InnerRequest) -> WholeResponse:
    """The whole response to a request that is not streamed. Cancelling this stops what it computes."""
    response = WholeResponse()
    await app(request.scope(), Asking(request.body).receive, response.send)
    return response


def vouched_caller(scope: Scope) -> Caller | None:
    """Who asks, where somebody in this process vouches for it. Nothing from outside can write to a scope."""
    caller: Caller | None = scope.get(_CALLER)
    return caller


def facts_of(scope: Scope) -> Mapping[str, Any]:
    """Fields of the log line that are known before the request is looked at."""
    facts: Mapping[str, Any] = scope.get(_FACTS, {})
    return facts


def note_front_door(scope: Scope, app: ASGIApp) -> None:
    """Let a WebSocket know the application that its requests go to: the outermost layer."""
    scope[_FRONT_DOOR] = app


def front_door(scope: Scope) -> ASGIApp:
    """What :func:`note_front_door` has noted."""
    app: ASGIApp = scope[_FRONT_DOOR]
    return app
