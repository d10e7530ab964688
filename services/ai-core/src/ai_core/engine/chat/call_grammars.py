"""What an answer has to look like so that its calls keep to the functions' schemas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ai_core.engine.chat.call_forms import ARGUMENTS_MARK, END_TAG, LIST_MARK, TAG, CallForm, Family
from ai_core.engine.chat.conversation import NO_PARAMETERS
from ai_core.engine.messages import ChatOptions, Grammar, Tool


@dataclass(frozen=True, slots=True)
class RequiredCall:
    """A call that must be made: how the answer begins, at the end of the prompt, and what has to follow."""

    opening: str
    grammar: Grammar


def required_call(form: CallForm, chat: ChatOptions) -> RequiredCall | None:
    """The call that a request demands: of one function, or of any. None: it demands none."""
    tools = [tool for tool in chat.tools if chat.forced_tool in {"", tool.name}]
    if not tools or not (chat.forced_tool or chat.tool_choice == "required"):
        return None
    if len(tools) == 1:
        return RequiredCall(form.opening(tools[0].name), _schema(_parameters(tools[0])))
    key = form.arguments_key
    choices = [_call(tool, key, f"#/anyOf/{index}/properties/{key}") for index, tool in enumerate(tools)]
    return RequiredCall(form.opening(None), _schema({"anyOf": choices}))


def strict_calls(form: CallForm, tools: Sequence[Tool]) -> Grammar | None:
    """For answers that may call functions or not, where some are strict; None where none is."""
    if not any(tool.strict for tool in tools):
        return None
    functions = [
        {"name": tool.name, "schema": _parameters(tool) if tool.strict else {"type": "object"}}
        for tool in tools
    ]
    description = {"functions": functions, "arguments_key": form.arguments_key, **_style(form)}
    return Grammar("calls", json.dumps(description, ensure_ascii=False))


def _style(form: CallForm) -> dict[str, str]:
    """As :class:`ai_core.engine.constraints.calls.Calls` names it."""
    if form.named:
        return {"style": "named", "mark": LIST_MARK, "end_mark": ARGUMENTS_MARK}
    match form.family:
        case Family.TAGGED:
            return {"style": "between", "mark": TAG, "end_mark": END_TAG}
        case Family.BARE:
            return {"style": "bare"}
        case Family.LISTED:
            return {"style": "list", "mark": LIST_MARK}


def _parameters(tool: Tool) -> dict[str, Any]:
    return tool.parameters or NO_PARAMETERS


def _schema(schema: dict[str, Any]) -> Grammar:
    return Grammar("json_schema", json.dumps(schema, ensure_ascii=False))


def _call(tool: Tool, arguments_key: str, place: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, arguments_key: _moved(_parameters(tool), place)},
        "required": ["name", arguments_key],
        "additionalProperties": False,
    }


def _moved(schema: Any, place: str) -> Any:
    """A schema that stands at this place of another: its references begin there."""
    if isinstance(schema, list):
        return [_moved(entry, place) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: place + entry.removeprefix("#")
        if key == "$ref" and isinstance(entry, str) and entry.startswith("#")
        else _moved(entry, place)
        for key, entry in schema.items()
    }
