"""What the routes take that put models into memory and out of it; and how long they stay."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ai_core.api.json_body import JsonObject
from ai_core.quantities import seconds_in


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PydanticCustomError("keep_alive", "Value should be a number of seconds or a text like 5m")
    try:
        return seconds_in(value)
    except ValueError as error:
        raise PydanticCustomError("keep_alive", "Value {why}", {"why": str(error)}) from None


KeepAlive = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^-?[0-9]"}]}),
]
"""As Ollama's: seconds, or a text like ``5m``; 0: until the answer is given; negative: for ever."""


class LoadBody(JsonObject):
    """A model that shall be in memory."""

    model: str | None = None
    keep_alive: KeepAlive | None = None
    wait: bool | None = None
    """Left out: the answer comes when the model is resident."""


class UnloadBody(JsonObject):
    """A model that shall leave memory."""

    model: str | None = None
    force: bool | None = None
    """Break off the answers that it is giving."""
