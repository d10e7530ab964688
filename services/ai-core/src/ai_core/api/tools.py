"""Tools in OpenAI's form: https://platform.openai.com/docs/guides/function-calling"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ai_core.api.json_body import JsonObject
from ai_core.engine.messages import Tool, ToolCall
from ai_core.errors import InvalidRequest

MAX_TOOLS = 128
MAX_SCHEMA_ENTRIES = 5_000
"""Values in all of one tool's parameters: a template goes through them one by one."""
_LARGEST_INTEGER = 2**63 - 1
_CHOICES = ("none", "auto", "required")

FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
CallId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:=+-]{1,128}$")]
"""Other servers' ids, too; but no text that could be more than an id where a template writes it."""


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """JSON as the standard has it, and not too much of it."""
    todo: list[Any] = [value]
    seen = 0
    while todo:
        entry = todo.pop()
        seen += 1
        if isinstance(entry, dict):
            todo += entry.values()
        elif isinstance(entry, list):
            todo += entry
        elif isinstance(entry, float) and not math.isfinite(entry):
            raise PydanticCustomError("json_number", "Value holds a number that is not finite")
        elif isinstance(entry, int) and abs(entry) > _LARGEST_INTEGER:
            raise PydanticCustomError("json_number", "Value holds an integer of more than 64 bits")
        if seen + len(todo) > MAX_SCHEMA_ENTRIES:
            raise PydanticCustomError(
                "too_many_entries", "Value should have at most {most} entries", {"most": MAX_SCHEMA_ENTRIES}
            )
    return value


Parameters = Annotated[dict[str, Any], AfterValidator(_plain_json)]


class Function(JsonObject):
    """What the model is told about a function."""

    name: FunctionName
    description: str | None = None
    parameters: Parameters | None = None
    strict: bool | None = None


class FunctionTool(JsonObject):
    """A function that the model may call."""

    type: Literal["function"]
    function: Function


def _choice(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value in _CHOICES) or _named(value) is not None:
        return value
    raise PydanticCustomError(
        "tool_choice",
        "Value should be 'none', 'auto', 'required' or "
        '{{"type": "function", "function": {{"name": "…"}}}}; this server has no other kinds yet',
    )


def _named(value: Any) -> str | None:
    """The name in a choice of one function."""
    if not isinstance(value, dict) or value.keys() != {"type", "function"} or value["type"] != "function":
        return None
    function = value["function"]
    if not isinstance(function, dict) or function.keys() != {"name"}:
        return None
    return function["name"] if isinstance(function["name"], str) else None


_CHOICE_SCHEMA = {
    "anyOf": [
        {"type": "string", "enum": list(_CHOICES)},
        {
            "type": "object",
            "properties": {
                "type": {"const": "function"},
                "function": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            },
            "required": ["type", "function"],
            "additionalProperties": False,
        },
        {"type": "null"},
    ]
}

Tools = Annotated[list[FunctionTool], Field(max_length=MAX_TOOLS, fail_fast=True)]
ToolChoice = Annotated[Any, BeforeValidator(_choice), WithJsonSchema(_CHOICE_SCHEMA)]


class CalledFunction(JsonObject):
    """What the model called, and with what."""

    name: FunctionName
    arguments: str


class MadeCall(JsonObject):
    """A call in an assistant's message that comes back."""

    id: CallId
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None
    """Stands in the chunks of streams; some clients send it back. The order says the same."""


class Choice:
    """What ``tools`` and ``tool_choice`` mean together."""

    def __init__(self, tools: Sequence[FunctionTool] | None, choice: Any) -> None:
        """Raises InvalidRequest where they do not go together."""
        functions = [tool.function for tool in tools or ()]
        names = [function.name for function in functions]
        forced = _named(choice)
        doubled = next((index for index, name in enumerate(names) if name in names[:index]), None)
        if doubled is not None:
            raise InvalidRequest(
                f"There are two functions named '{names[doubled]}'.",
                parameter=f"tools[{doubled}].function.name",
            )
        if forced is not None and forced not in names:
            raise InvalidRequest("'tool_choice' names no function of 'tools'.", parameter="tool_choice")
        if choice == "required" and not functions:
            raise InvalidRequest("'tool_choice' 'required' goes with 'tools' only.", parameter="tool_choice")
        offered = [] if choice == "none" else functions
        self.tools = [_tool(function) for function in offered]
        self.required: Literal["auto", "required"] = "required" if choice == "required" else "auto"
        self.forced = forced or ""


def _tool(function: Function) -> Tool:
    return Tool(
        function.name, function.description or "", function.parameters or {}, strict=bool(function.strict)
    )


def made_calls(calls: Sequence[MadeCall] | None) -> list[ToolCall]:
    """Calls that were made before, in the engine's form."""
    return [ToolCall(call.id, call.function.name, call.function.arguments) for call in calls or ()]
