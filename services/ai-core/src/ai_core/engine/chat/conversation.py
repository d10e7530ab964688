"""A conversation in the shape that chat templates expect: ``transformers``' "Tool use" and "Writing a chat
template" describe it, and templates differ in what of it they can take."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ai_core.engine.messages import ChatMessage, Tool, ToolCall

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")


@dataclass(frozen=True, slots=True)
class HistoryForm:
    """How a template takes calls that were made before."""

    null_content: bool = False
    """A turn without text has content none, not an empty text."""
    arguments_as_text: bool = False
    """Arguments are JSON text, not an object."""
    short_ids: bool = False
    """Ids of calls are nine letters or digits (Mistral)."""


def as_conversation(messages: Iterable[ChatMessage], form: HistoryForm) -> list[dict[str, Any]]:
    """The template's ``messages``. Entries that say nothing are left out."""
    names: dict[str, str] = {}
    return [_turn(message, form, names) for message in messages]


def as_tools(tools: Iterable[Tool]) -> list[dict[str, Any]] | None:
    """The template's ``tools``: none rather than an empty list."""
    return [{"type": "function", "function": _function(tool)} for tool in tools] or None


def texts_in(value: object) -> Iterator[str]:
    """Every text inside lists and dictionaries, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from texts_in(key)
            yield from texts_in(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from texts_in(entry)


def _turn(message: ChatMessage, form: HistoryForm, names: dict[str, str]) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    if message.tool_calls:
        names.update((call.id, call.name) for call in message.tool_calls)
        turn["tool_calls"] = [_call(call, form) for call in message.tool_calls]
        if form.null_content and not message.content:
            turn["content"] = None
    if message.tool_call_id:
        turn["tool_call_id"] = _call_id(message.tool_call_id, form)
    name = message.name or names.get(message.tool_call_id, "")
    if name:
        turn["name"] = name
    return turn


def _call(call: ToolCall, form: HistoryForm) -> dict[str, Any]:
    arguments = call.arguments if form.arguments_as_text else _object_in(call.arguments)
    return {
        "id": _call_id(call.id, form),
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _object_in(arguments: str) -> Any:
    """The object that the model wrote; what it wrote, if that is none."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments


def _call_id(call_id: str, form: HistoryForm) -> str:
    """The same id for the same call, in the form that the template asks for."""
    if not form.short_ids or _SHORT_ID.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]


def _function(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters or NO_PARAMETERS,
    }
