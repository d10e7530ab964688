"""The messages of a conversation in OpenAI's form, calls of functions and their results included."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ai_core.api.conversation import MAX_MESSAGES, Content
from ai_core.api.json_body import JsonObject
from ai_core.api.parameters import only
from ai_core.api.tools import CallId, FunctionName, MadeCall, made_calls
from ai_core.engine.messages import ChatMessage
from ai_core.errors import InvalidRequest

MAX_CALLS = 128


class OpenAIMessage(JsonObject):
    """One turn. The fields after ``tool_call_id`` stand in answers, which clients send back."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    tool_calls: Annotated[list[MadeCall], Field(max_length=MAX_CALLS, fail_fast=True)] | None = None
    tool_call_id: CallId | None = None
    reasoning_content: str | None = None
    name: FunctionName | None = None
    refusal: Annotated[Any, only(None)] = None
    function_call: Annotated[Any, only(None)] = None
    audio: Annotated[Any, only(None)] = None
    annotations: Annotated[Any, only(None, [])] = None


OpenAIMessages = Annotated[list[OpenAIMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]


def conversation(messages: list[OpenAIMessage]) -> list[ChatMessage]:
    """The engine's form; ``developer`` is OpenAI's newer word for ``system``.

    Raises:
        InvalidRequest: a message says what its role cannot say, or answers a call that nobody made.
    """
    made: set[str] = set()
    turns = []
    for index, message in enumerate(messages):
        _check(message, f"messages[{index}]", made)
        calls = made_calls(message.tool_calls)
        made.update(call.id for call in calls)
        turns.append(
            ChatMessage(
                "system" if message.role == "developer" else message.role,
                message.content or "",
                calls,
                message.tool_call_id or "",
                message.name or "",
                message.reasoning_content or "",
            )
        )
    return turns


def _check(message: OpenAIMessage, place: str, made: set[str]) -> None:
    if message.role != "assistant":
        _refuse_fields(message, place, "tool_calls", "reasoning_content")
    if message.role != "tool":
        _refuse_fields(message, place, "tool_call_id", "name")
    if message.content is None and not message.tool_calls:
        raise _missing(f"{place}.content")
    if message.role == "tool" and message.tool_call_id is None:
        raise _missing(f"{place}.tool_call_id")
    if message.tool_call_id is not None and message.tool_call_id not in made:
        raise InvalidRequest(
            f"'{place}.tool_call_id' is the id of no call in the 'tool_calls' of the messages before.",
            code="invalid_value",
            parameter=f"{place}.tool_call_id",
        )


def _refuse_fields(message: OpenAIMessage, place: str, *names: str) -> None:
    for name in names:
        if getattr(message, name):
            raise InvalidRequest(
                f"'{place}.{name}' does not go with the role '{message.role}'.",
                code="invalid_value",
                parameter=f"{place}.{name}",
            )


def _missing(path: str) -> InvalidRequest:
    return InvalidRequest(f"'{path}' is missing.", code="missing_parameter", parameter=path)
