"""The messages of a conversation, as callers send them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ai_core.api.json_body import JsonObject
from ai_core.api.parameters import only
from ai_core.engine.messages import ChatMessage

MAX_MESSAGES = 10_000


def _joined(value: Any) -> Any:
    """The text of a content that is a list of text parts; anything else as it is."""
    if not isinstance(value, list):
        return value
    texts = []
    for number, part in enumerate(value):
        known = isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text"
        if not known or not isinstance(part["text"], str):
            raise PydanticCustomError(
                "content_part",
                'Value has a part (number {number}) that is not {{"type": "text", "text": "…"}}; '
                "this server has no other kinds yet",
                {"number": number},
            )
        texts.append(part["text"])
    return "\n".join(texts)


_CONTENT_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                "required": ["type", "text"],
                "additionalProperties": False,
            },
        },
    ]
}
Content = Annotated[str, BeforeValidator(_joined), WithJsonSchema(_CONTENT_SCHEMA)]


class Message(JsonObject):
    """One turn. The fields after ``content`` stand in answers of OpenAI's, which clients send back."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: Annotated[Any, only(None)] = None
    refusal: Annotated[Any, only(None)] = None
    tool_calls: Annotated[Any, only(None, [])] = None
    function_call: Annotated[Any, only(None)] = None
    audio: Annotated[Any, only(None)] = None
    annotations: Annotated[Any, only(None, [])] = None


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
Context = Annotated[list[Message], Field(max_length=MAX_MESSAGES, fail_fast=True)]


def to_engine(messages: list[Message]) -> list[ChatMessage]:
    """The engine's form; ``developer`` is OpenAI's newer word for ``system``."""
    return [
        ChatMessage("system" if message.role == "developer" else message.role, message.content)
        for message in messages
    ]
