"""What is known about one HTTP request beside its content; it ends as one log line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from ai_core.access.caller import Caller
from ai_core.api.rate_headers import Standing

_KEY = "neo.exchange"
STATUS_CLIENT_LEFT = 499
"""What logs and metrics say where the caller left before the end; it never goes out. As in nginx."""


@dataclass(slots=True)
class Exchange:
    """Filled in on the way. Never holds what people wrote."""

    request_id: str
    status: int = 0
    """0: nothing was sent, because the caller left first."""
    complete: bool = False
    """The last byte of the answer has been handed to the server."""
    caller: Caller | None = None
    """Who asks; None on the few routes that are open to all, and where the key was refused."""
    timeout: float | None = None
    """Seconds that the caller is ready to wait; None: it does not say."""
    standing: Standing = field(default_factory=Standing)
    """How its key stands at its limits per minute."""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Further headers of the answer."""
    error_code: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """Further fields of the log line: model, tokens, timings."""

    @property
    def known_caller(self) -> Caller:
        """Who asks, on every route that needs a key: the gate has let nobody else through."""
        assert self.caller is not None
        return self.caller


def attach(scope: Scope, exchange: Exchange) -> None:
    """Make an exchange known to everything that handles this request."""
    scope[_KEY] = exchange


def caller_of(scope: Scope) -> Caller:
    """Who asks, on every route that needs a key."""
    return exchange_of(scope).known_caller


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of this request; the middleware has put it there."""
    exchange: Exchange = scope[_KEY]
    return exchange
