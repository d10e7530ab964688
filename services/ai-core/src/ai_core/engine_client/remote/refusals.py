"""What a server's refusals mean to our callers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from ai_core.engine.messages import RefusalCode
from ai_core.engine_client.remote.upstream import OPERATOR_SECONDS
from ai_core.errors import InvalidRequest, NeoError, Overloaded, UpstreamFailed, UpstreamUnavailable

MAX_QUOTED_CHARACTERS = 300
BUSY_RETRY_AFTER = 5.0
LONGEST_RETRY_AFTER = 300.0
_CALLERS_FAULT = frozenset({400, 413, 422})
_PARAMETERS = {"max_completion_tokens": "max_tokens", "repetition_penalty": "repeat_penalty"}
_CODES = frozenset(get_args(RefusalCode)) | {"content_filter", "content_filtered"}


def error_of(model: str, status: int, headers: Mapping[str, str], content: bytes) -> NeoError:
    """The error for a status other than 200.

    What the server says is quoted only where it is about the caller's own request: about our key, or
    about its insides, it may say things that are not for callers.
    """
    if status in _CALLERS_FAULT:
        return _refused(model, content)
    if status == 429:
        return Overloaded(
            f"The server of the remote model '{model}' is busy. Try again a little later.",
            retry_after=_retry_after(headers) or BUSY_RETRY_AFTER,
        )
    if status in {401, 403}:
        return UpstreamUnavailable(
            f"The server of the remote model '{model}' does not accept this server's key; the operator must "
            "check the model's 'key_file'.",
            code="upstream_unauthorized",
            retry_after=OPERATOR_SECONDS,
        )
    if status == 408 or status >= 500:
        return UpstreamUnavailable(
            f"The server of the remote model '{model}' fails at present (status {status}). Try again later.",
            retry_after=_retry_after(headers),
        )
    hint = f"it answered with status {status}"
    if status == 404:
        hint = "it does not know this model or route; the operator must check the model's 'url' and 'model'"
    return UpstreamFailed(f"The server of the remote model '{model}' refused to work: {hint}.")


def broke_off(model: str, event: Any = None) -> NeoError:
    """The answer ended in the middle; ``event`` is what the server said of it, if anything."""
    said = _said({"error": event} if isinstance(event, dict) else None)
    if said.get("code") == "grammar_too_complex":
        return InvalidRequest(
            "The form that was asked for became too expensive to follow.", code="grammar_too_complex"
        )
    return UpstreamUnavailable(
        f"The answer of the remote model '{model}' broke off. Try again.", code="upstream_broke_off"
    )


def nonsense(model: str, what: str) -> UpstreamFailed:
    """The server does not keep to the form of OpenAI's API."""
    return UpstreamFailed(f"The server of the remote model '{model}' answered with nonsense: {what}.")


def _refused(model: str, content: bytes) -> InvalidRequest:
    said = _said(_json(content))
    message, parameter, code = said.get("message"), said.get("param"), said.get("code")
    reason = "."
    if isinstance(message, str) and message.strip():
        reason = ": " + message.strip()[:MAX_QUOTED_CHARACTERS]
    if not isinstance(parameter, str) or not 0 < len(parameter) <= 100:
        parameter = None
    return InvalidRequest(
        f"The server of the remote model '{model}' refused this request{reason}",
        code=code if isinstance(code, str) and code in _CODES else "upstream_refused",
        parameter=_PARAMETERS.get(parameter, parameter) if parameter else None,
    )


def _said(answer: Any) -> dict[str, Any]:
    """OpenAI's error object. FastAPI's servers say ``detail``, and vLLM once said it without ``error``."""
    if not isinstance(answer, dict):
        return {}
    error = answer.get("error", answer)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; None: it does not say, or as a date."""
    value = headers.get("retry-after", "")
    if not (value.isascii() and value.isdigit() and len(value) < 9):
        return None
    return min(max(float(value), 1.0), LONGEST_RETRY_AFTER)
