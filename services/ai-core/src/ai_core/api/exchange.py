"""What is known about one HTTP request beside its content; it ends as one log line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

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
    error_code: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """Further fields of the log line: model, tokens, timings."""


def attach(scope: Scope, exchange: Exchange) -> None:
    """Make an exchange known to everything that handles this request."""
    scope[_KEY] = exchange


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of this request; the middleware has put it there."""
    exchange: Exchange = scope[_KEY]
    return exchange
