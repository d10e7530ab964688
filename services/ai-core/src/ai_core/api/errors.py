"""The one error body, and the one place where an error becomes an HTTP status."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ai_core import errors
from ai_core.access.limits.refusal import RateLimited

MAX_MESSAGE_CHARACTERS = 600
_BEARER = 'Bearer realm="ai-core"'


class RouteNotFound(errors.NeoError):
    """Nothing is served under this path."""

    code = "route_not_found"


class MethodNotAllowed(errors.NeoError):
    """The path exists, for other methods."""

    code = "method_not_allowed"


class BodyTooLarge(errors.NeoError):
    """The body exceeds MAX_BODY_BYTES."""

    code = "body_too_large"


class BodyTooSlow(errors.NeoError):
    """The body did not arrive in time."""

    code = "body_too_slow"


class UnsupportedMediaType(errors.NeoError):
    """The body is declared as something else than plain JSON."""

    code = "unsupported_media_type"


STATUS: dict[type[errors.NeoError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.ModelNotFound: 404,
    errors.KeyNotFound: 404,
    errors.AdapterNotFound: 404,
    errors.BatchNotFound: 404,
    errors.SessionNotFound: 404,
    RouteNotFound: 404,
    MethodNotAllowed: 405,
    BodyTooSlow: 408,
    errors.AdapterBusy: 409,
    errors.SessionBusy: 409,
    errors.ModelBusy: 409,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    errors.Overloaded: 429,
    RateLimited: 429,
    errors.GenerationFailed: 500,
    errors.RequestQuarantined: 500,
    errors.NotConfigured: 501,
    errors.UpstreamFailed: 502,
    errors.UpstreamUnavailable: 503,
    errors.EngineUnavailable: 503,
    errors.StorageUnavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.DiskFull: 507,
}


def status_of(error: errors.NeoError) -> int:
    """The HTTP status of an error; 500 for one that is not in the table."""
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return 500


def error_type(status: int) -> str:
    """OpenAI's coarse kind of error, which client libraries show."""
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def error_body(error: errors.NeoError) -> bytes:
    """``{"error": {"message", "type", "param", "code"}}`` as JSON."""
    message = error.message
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    fields: dict[str, Any] = {
        "message": message,
        "type": error_type(status_of(error)),
        "param": error.parameter,
        "code": error.code,
    }
    return msgspec.json.encode({"error": fields})


def error_headers(error: errors.NeoError) -> dict[str, str]:
    """``Retry-After`` in whole seconds, at least 1, where trying again makes sense; ``WWW-Authenticate``
    where another key would help."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if challenge := _challenge(error):
        headers["www-authenticate"] = challenge
    return headers


def _challenge(error: errors.NeoError) -> str | None:
    """RFC 6750, section 3; for browsers RFC 7617."""
    if isinstance(error, errors.Unauthorized):
        if error.browser:
            return 'Basic realm="ai-core", charset="UTF-8"'
        # Who showed no key at all is told nothing about errors.
        return _BEARER if error.code == "missing_api_key" else f'{_BEARER}, error="invalid_token"'
    if isinstance(error, errors.Forbidden) and error.code == "insufficient_scope":
        return f'{_BEARER}, error="insufficient_scope"'
    return None
