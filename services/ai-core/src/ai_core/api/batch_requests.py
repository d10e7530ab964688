"""What ``POST /api/v1/batches`` takes: JSON lines, as OpenAI's batches have them.

https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic_core
from pydantic import Field

from ai_core.access.caller import Caller, Scope
from ai_core.api.completion_requests import CompletionBody
from ai_core.api.embedding_requests import EmbeddingsBody
from ai_core.api.errors import UnsupportedMediaType
from ai_core.api.for_caller import for_caller
from ai_core.api.gate import check_scope
from ai_core.api.json_body import JsonObject, checked
from ai_core.api.native_requests import ChatBody, GenerateBody
from ai_core.api.openai_requests import ChatCompletionBody
from ai_core.api.route_access import RouteAccess
from ai_core.catalog.models import Catalog
from ai_core.errors import InvalidRequest, NeoError
from ai_core.inference.batches.archive import Line

MAX_LINES = 10_000
MAX_CUSTOM_ID = 256
MEDIA_TYPES = ("application/jsonl", "application/x-ndjson")
_IN_ONE_GO = 32_768
"""Bytes that are checked before others get their turn; at least one line."""

AnyBody = ChatBody | GenerateBody | ChatCompletionBody | CompletionBody | EmbeddingsBody


@dataclass(frozen=True, slots=True)
class _Route:
    shape: type[AnyBody]
    scope: Scope


ROUTES = {
    "/api/v1/chat": _Route(ChatBody, Scope.GENERATE),
    "/api/v1/generate": _Route(GenerateBody, Scope.GENERATE),
    "/v1/chat/completions": _Route(ChatCompletionBody, Scope.GENERATE),
    "/v1/completions": _Route(CompletionBody, Scope.GENERATE),
    "/v1/embeddings": _Route(EmbeddingsBody, Scope.EMBEDDINGS),
}


class BatchLine(JsonObject):
    """One request of a batch. ``body`` is what the route ``url`` takes, without ``stream``."""

    custom_id: Annotated[str, Field(min_length=1, max_length=MAX_CUSTOM_ID)]
    method: Literal["POST"] | None = None
    url: Literal[
        "/api/v1/chat",
        "/api/v1/generate",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
    ]
    body: dict[str, Any]


def check_media_type(content_type: str | None, content_encoding: str | None) -> None:
    """Raises UnsupportedMediaType for anything but plain JSON lines."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaType(
            "Send the batch as JSON lines, with the header 'Content-Type: application/jsonl'."
        )
    if (content_encoding or "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the batch uncompressed: this server takes no Content-Encoding.")


async def read_lines(content: bytes, caller: Caller, catalog: Catalog, max_line_bytes: int) -> list[Line]:
    """The requests of a batch, each of them one that would be taken on its own.

    Raises:
        NeoError: about the first line that is wrong; its message names the line, counted from 1, and its
            parameter the field.
    """
    rows = [(number, row) for number, row in enumerate(content.split(b"\n")) if row.strip()]
    if not rows:
        raise InvalidRequest("The body is empty; one JSON object per line is expected.", code="invalid_json")
    if len(rows) > MAX_LINES:
        raise InvalidRequest(
            f"The batch has {len(rows)} lines; {MAX_LINES} are the most.", code="too_many_lines"
        )
    lines: list[Line] = []
    seen: dict[str, int] = {}
    checked_bytes = 0
    for number, row in rows:
        checked_bytes += len(row)
        if checked_bytes > _IN_ONE_GO:
            checked_bytes = 0
            await asyncio.sleep(0)
        try:
            line = _read_line(row, caller, catalog, max_line_bytes)
            first = seen.setdefault(line.custom_id, number)
            if first != number:
                raise InvalidRequest(
                    f"'custom_id' is that of line {first + 1}, too; each line needs its own.",
                    parameter="custom_id",
                )
        except NeoError as error:
            raise in_line(error, number) from error
        lines.append(line)
    return lines


def in_line(error: NeoError, number: int) -> NeoError:
    """The same error, said of a line; ``number`` counts from 0."""
    error.message = f"Line {number + 1}: {error.message}"
    error.args = (error.message,)
    error.parameter = f"lines[{number}]" + (f".{error.parameter}" if error.parameter else "")
    return error


def _read_line(row: bytes, caller: Caller, catalog: Catalog, max_bytes: int) -> Line:
    if len(row) > max_bytes:
        raise InvalidRequest(
            f"It is longer than {max_bytes} bytes, the limit of one request.", code="line_too_large"
        )
    try:
        value = pydantic_core.from_json(row)
    except ValueError as error:
        raise InvalidRequest(f"This is not valid JSON: {error}.", code="invalid_json") from error
    line = checked(value, BatchLine)
    try:
        check_body(line, caller, catalog)
    except NeoError as error:
        error.parameter = f"body.{error.parameter}" if error.parameter else "body"
        raise
    return Line(line.custom_id, line.url, json.dumps(line.body).encode())


def check_body(line: BatchLine, caller: Caller, catalog: Catalog) -> None:
    """Raises NeoError for a body that the route would refuse, or the caller may not send."""
    route = ROUTES[line.url]
    check_scope(caller, RouteAccess(route.scope))
    if line.body.get("stream"):
        raise InvalidRequest("'stream' goes with a connection; leave it out of a batch.", parameter="stream")
    if line.body.get("session_id") is not None:
        raise InvalidRequest(
            "'session_id' is not for a batch: its lines are answered in any order.", parameter="session_id"
        )
    body = checked(line.body, route.shape)
    for request in _requests(body):
        for_caller(request, caller, catalog)


def _requests(body: AnyBody) -> Sequence[Any]:
    if isinstance(body, ChatCompletionBody | CompletionBody):
        return body.to_requests()
    return [body.to_request()]
