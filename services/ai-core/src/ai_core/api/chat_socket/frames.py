"""The messages of a chat socket. Pure.

A client sends JSON objects with a ``type``: ``auth`` (``key``), ``chat`` (``id`` and the fields of POST
/api/v1/chat), ``cancel`` (``id``), ``ping``. It is sent ``authenticated``, ``accepted``, ``delta``,
``done``, ``error`` and ``pong``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic_core

from ai_core.api.answer_format import encode
from ai_core.api.errors import error_body, error_headers, status_of
from ai_core.errors import InvalidRequest, NeoError

TYPES = ("auth", "chat", "cancel", "ping")
MAX_ID_CHARACTERS = 128
MAX_ECHO = 60

AUTHENTICATED = '{"type":"authenticated"}'
PONG = '{"type":"pong"}'


@dataclass(frozen=True, slots=True)
class Auth:
    """The key to use from now on."""

    key: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A request: ``body`` is what POST /api/v1/chat takes."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """The answer to this request is not wanted any more."""

    id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Is anybody there? For browsers, which cannot send the protocol's own pings."""


Frame = Auth | Chat | Cancel | Ping


def parse_frame(text: str) -> Frame:
    """What a client says. Raises InvalidRequest, which names the field at fault."""
    fields = _object(text)
    kind = fields.pop("type", None)
    if kind is None:
        raise InvalidRequest("'type' is missing.", code="missing_parameter", parameter="type")
    match kind:
        case "chat":
            return Chat(_take_id(fields), _body(fields))
        case "cancel":
            frame: Frame = Cancel(_take_id(fields))
        case "auth":
            frame = Auth(_take_key(fields))
        case "ping":
            frame = Ping()
        case _:
            expected = ", ".join(f"'{name}'" for name in TYPES)
            raise InvalidRequest(
                f"'type' should be one of {expected}.", code="invalid_value", parameter="type"
            )
    if fields:
        name = min(fields)[:MAX_ECHO]
        raise InvalidRequest(
            f"'{name}' is not a field of '{kind}'. Remove it, or check its spelling.",
            code="unknown_parameter",
            parameter=name,
        )
    return frame


def id_in(text: str) -> str | None:
    """The id of a message that cannot be used, if it has one that can be said back."""
    try:
        return _take_id(_object(text))
    except InvalidRequest:
        return None


def _object(text: str) -> dict[str, Any]:
    try:
        fields = pydantic_core.from_json(text)
    except ValueError as error:
        raise InvalidRequest(f"The message is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("The message is not a JSON object.", code="invalid_json")
    return fields


def _body(fields: dict[str, Any]) -> bytes:
    """Null means the same as leaving it out, as everywhere."""
    if fields.get("stream") is None:
        fields["stream"] = True
    return json.dumps(fields).encode()


def _take_id(fields: dict[str, Any]) -> str:
    if "id" not in fields:
        raise InvalidRequest("'id' is missing.", code="missing_parameter", parameter="id")
    value = fields.pop("id")
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARACTERS:
        raise InvalidRequest(
            f"'id' should be a string of 1 to {MAX_ID_CHARACTERS} characters.",
            code="invalid_value",
            parameter="id",
        )
    return value


def _take_key(fields: dict[str, Any]) -> str:
    if "key" not in fields:
        raise InvalidRequest("'key' is missing.", code="missing_parameter", parameter="key")
    value = fields.pop("key")
    # It becomes a header of each request.
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARACTERS or not value.isascii():
        raise InvalidRequest("'key' should be an API key.", code="invalid_value", parameter="key")
    return value


def accepted(id: str, request_id: str) -> str:
    """The engine has taken the request; ``request_id`` stands in the server's log."""
    return encode({"type": "accepted", "id": id, "request_id": request_id}).decode()


def tagged(kind: str, id: str, fields: bytes) -> str:
    """A message with further fields: a JSON object that is not empty."""
    head = encode({"type": kind, "id": id})
    return (head[:-1] + b"," + fields.lstrip()[1:]).decode()


def failed(id: str | None, status: int, body: bytes, retry_after: int | None) -> str:
    """``body`` is that of an HTTP error, ``status`` its status; ``retry_after`` in seconds."""
    head = encode({"type": "error", "id": id, "status": status, "retry_after": retry_after})
    return (head[:-1] + b"," + body.lstrip()[1:]).decode()


def error_frame(id: str | None, error: NeoError) -> str:
    """An error that was met outside of any HTTP response."""
    return failed(id, status_of(error), error_body(error), retry_after_in(error_headers(error)))


def retry_after_in(headers: Mapping[str, str]) -> int | None:
    """Whole seconds, if there are any."""
    value = headers.get("retry-after", "")
    return int(value) if value.isdigit() else None


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event."""

    data: bytes
    is_error: bool


def events_in(block: bytes) -> Iterator[StreamEvent]:
    """The events in what was written to a stream in one piece: whole events, and comments."""
    for lines in block.split(b"\n\n"):
        if lines.startswith(b"data: "):
            yield StreamEvent(lines.removeprefix(b"data: "), is_error=False)
        elif lines.startswith(b"event: error\ndata: "):
            yield StreamEvent(lines.removeprefix(b"event: error\ndata: "), is_error=True)
