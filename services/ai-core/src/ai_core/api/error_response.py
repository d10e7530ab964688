"""An error as a response, wherever in the application it was met."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Scope

from ai_core.api.errors import BodyTooLarge, BodyTooSlow, error_body, error_headers, status_of
from ai_core.api.exchange import exchange_of
from ai_core.errors import NeoError


def error_response(scope: Scope, error: NeoError) -> Response:
    """An error as a response; its code goes into the log line."""
    exchange = exchange_of(scope)
    exchange.error_code = error.code
    exchange.standing.note(error)
    headers = error_headers(error)
    if isinstance(error, BodyTooLarge | BodyTooSlow):
        # What is left of the body may still be on its way.
        headers["connection"] = "close"
    return Response(error_body(error), status_of(error), headers, media_type="application/json")
