"""From a request's bytes to a checked structure, or to one sentence that names the field at fault."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from starlette.requests import Request

from ai_core.api.errors import BodyTooSlow, UnsupportedMediaType
from ai_core.errors import InvalidRequest

BODY_SECONDS = 60.0
MAX_KEYS = 64
MAX_NAME_ECHO = 60


class JsonObject(BaseModel):
    """Base of everything that a body holds: unknown fields and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        # Each unknown key would become one error, and an error costs far more than a key.
        if isinstance(value, dict) and len(value) > MAX_KEYS:
            raise PydanticCustomError("too_many_keys", "Object should have at most 64 fields")
        return value


Body = TypeVar("Body", bound=JsonObject)


async def read_body(request: Request, shape: type[Body]) -> Body:
    """The body of a request in the given shape.

    Raises:
        UnsupportedMediaType, BodyTooLarge, BodyTooSlow, InvalidRequest: as the names say.
    """
    check_media_type(request.headers.get("content-type"), request.headers.get("content-encoding"))
    try:
        async with asyncio.timeout(BODY_SECONDS):
            content = await request.body()
    except TimeoutError as error:
        raise BodyTooSlow(f"The body did not arrive within {BODY_SECONDS:.0f} seconds.") from error
    return parse(content, shape)


def check_media_type(content_type: str | None, content_encoding: str | None) -> None:
    """Raises UnsupportedMediaType for anything but plain JSON.

    A missing type is refused too: it is what a foreign web page can send without being asked.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("Send the body as JSON, with the header 'Content-Type: application/json'.")
    if (content_encoding or "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the body uncompressed: this server takes no Content-Encoding.")


def parse(content: bytes, shape: type[Body]) -> Body:
    """The structure in a body. Raises InvalidRequest."""
    if not content:
        raise InvalidRequest("The body is empty; a JSON object is expected.", code="invalid_json")
    try:
        value = pydantic_core.from_json(content)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    return checked(value, shape)


def checked(value: Any, shape: type[Body]) -> Body:
    """The structure in what JSON says. Raises InvalidRequest."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise explain(error.errors(include_url=False, include_input=False)[0]) from error


def explain(details: ErrorDetails) -> InvalidRequest:
    """The error that a caller gets for one finding of pydantic."""
    path = field_path(details["loc"])
    if not path:
        if details["type"] == "too_many_keys":
            return InvalidRequest(f"The body has more than {MAX_KEYS} fields.")
        return InvalidRequest("The body is not a JSON object.", code="invalid_json")
    kind, message = details["type"], details["msg"]
    if kind == "missing":
        return InvalidRequest(f"'{path}' is missing.", code="missing_parameter", parameter=path)
    if kind == "extra_forbidden":
        return InvalidRequest(
            f"'{path}' is not a parameter here. Remove it, or check its spelling.",
            code="unknown_parameter",
            parameter=path,
        )
    if kind == "model_type":
        message = "should be an object"
    for start in ("Input ", "Value ", "String ", "List ", "Object ", "Dictionary "):
        message = message.removeprefix(start)
    return InvalidRequest(f"'{path}' {message}.", code="invalid_value", parameter=path)


def field_path(place: Sequence[int | str]) -> str:
    """``messages[0].role`` for ``("messages", 0, "role")``; names that are long are cut."""
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            name = part if len(part) <= MAX_NAME_ECHO else part[: MAX_NAME_ECHO - 1] + "…"
            path += f".{name}" if path else name
    return path
