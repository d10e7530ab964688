"""What a remote server's answers mean to our callers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ai_core.errors import InvalidRequest, NeoError, Overloaded, UpstreamFailed, UpstreamUnavailable
from ai_core.transcription.port import Transcript, TranscriptFormat

MAX_QUOTED_CHARACTERS = 200
DEFAULT_RETRY_AFTER = 5.0
LONGEST_RETRY_AFTER = 300.0
_CALLERS_FAULT = frozenset({400, 413, 415, 422})
_JSON_FORMATS = frozenset({"json", "verbose_json"})
_PARAMETERS = frozenset(
    {"file", "model", "language", "prompt", "response_format", "temperature", "timestamp_granularities[]"}
)


def error_of(status: int, headers: Mapping[str, str], content: bytes) -> NeoError:
    """The error for a status other than 200.

    What the server says is quoted only where it is about the caller's own request: about our key, or
    about its insides, it may say things that are not for callers.
    """
    if status in _CALLERS_FAULT:
        return _refused(content)
    if status == 429:
        return Overloaded(
            "The transcription server is busy. Try again a little later.", retry_after=_retry_after(headers)
        )
    if status >= 500:
        return UpstreamUnavailable(
            f"The transcription server fails at present (status {status}). Try again later.",
            retry_after=_retry_after(headers),
        )
    hint = {
        401: "it does not accept this server's key; the operator has to check TRANSCRIPTION_API_KEY",
        403: "it does not accept this server's key; the operator has to check TRANSCRIPTION_API_KEY",
        404: "it does not know this route or model; the operator has to check TRANSCRIPTION_URL and "
        "TRANSCRIPTION_MODEL",
    }.get(status, f"it answered with status {status}")
    return UpstreamFailed(f"The transcription server refused to work: {hint}.")


def transcript_of(content: bytes, format: TranscriptFormat) -> Transcript:
    """The body for our caller. Raises UpstreamFailed for what is no transcript."""
    try:
        text = content.decode()
        if format in _JSON_FORMATS:
            answer = json.loads(text)
            if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
                raise ValueError("no text")
    except ValueError as error:
        raise UpstreamFailed(
            "The transcription server answered with something that is no transcript."
        ) from error
    if format in _JSON_FORMATS:
        return Transcript(content, "application/json")
    return Transcript(content, "text/plain; charset=utf-8")


def _refused(content: bytes) -> InvalidRequest:
    said = _error_object(content)
    message, parameter = said.get("message"), said.get("param")
    reason = f": {message[:MAX_QUOTED_CHARACTERS]}" if isinstance(message, str) and message else "."
    return InvalidRequest(
        f"The transcription server cannot use this request{reason}",
        code="upstream_refused",
        parameter=parameter if parameter in _PARAMETERS else "file",
    )


def _error_object(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError:
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}


def _retry_after(headers: Mapping[str, str]) -> float:
    value = headers.get("retry-after", "")
    seconds = float(value) if value.isascii() and value.isdigit() and len(value) < 9 else DEFAULT_RETRY_AFTER
    return min(max(seconds, 1.0), LONGEST_RETRY_AFTER)
