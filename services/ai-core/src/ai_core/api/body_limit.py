"""A bound on the size of request bodies, whether they announce their size or not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.routing import get_route_path  # type: ignore[attr-defined]
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_core.api.errors import BodyTooLarge

DISCARD_BYTES = 64 * 1024 * 1024
DISCARD_SECONDS = 10.0


class BodyLimit:
    """Lets at most ``limit`` bytes of a body through; then reading it raises BodyTooLarge.

    Many clients read no answer before they have sent their whole body. So the rest of a body that
    is too large is read and dropped, within bounds, and the client gets to see why it was refused.
    """

    def __init__(self, app: ASGIApp, limit: int, other_limits: Mapping[str, int] | None = None) -> None:
        """``other_limits`` are those of single paths."""
        self._app = app
        self._limit = limit
        self._other_limits = other_limits or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = self._limited(scope, receive)
        await self._app(scope, receive, send)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        headers = dict(scope["headers"])
        limit = self._other_limits.get(get_route_path(scope), self._limit)
        announced = _content_length(headers.get(b"content-length", b"0"))
        taken = 0

        async def limited_receive() -> Message:
            nonlocal taken
            if announced > limit:
                # Who waits for "100 Continue" has sent nothing yet, and need not.
                if b"expect" not in headers:
                    await _discard(receive)
                raise _too_large(limit)
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                if message.get("more_body", False):
                    await _discard(receive)
                raise _too_large(limit)
            return message

        return limited_receive


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes, the limit of this server.")


def _content_length(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) < 20 else 0


async def _discard(receive: Receive) -> None:
    dropped = 0
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while dropped < DISCARD_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
