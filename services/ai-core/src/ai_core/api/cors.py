"""Web pages of other origins: the answers that browsers ask for. Fetch standard, section 3.2
(https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from ai_core.api.errors import error_body
from ai_core.errors import InvalidRequest

PREFLIGHT_SECONDS = 600
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
READABLE_HEADERS = (
    "X-Request-ID",
    "Retry-After",
    "X-RateLimit-Limit-Requests",
    "X-RateLimit-Remaining-Requests",
    "X-RateLimit-Reset-Requests",
    "X-RateLimit-Limit-Tokens",
    "X-RateLimit-Remaining-Tokens",
    "X-RateLimit-Reset-Tokens",
)


class Cors(CORSMiddleware):
    """Lets pages of the listed origins in, each by name, and never with cookies: callers show their key.

    A browser asks before it sends a key ("preflight"); so that question needs none.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            # Whichever are asked for: OpenAI's library for browsers sends a dozen of its own.
            allow_headers=["*"],
            allow_credentials=False,
            expose_headers=READABLE_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """As the base class says, with our body where the page may not."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        refusal = InvalidRequest(
            "Pages of this origin may not send this request. The operator lists origins in CORS_ORIGINS.",
            code="origin_not_allowed",
        )
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return Response(error_body(refusal), 400, headers, media_type="application/json")
