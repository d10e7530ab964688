"""What a chat template can do, found out by rendering it.

Its source says which variables it reads. How it takes and writes function calls is only certain once it has
done so: a short conversation with one call is rendered in the ways in which templates take it, until one
shows the call in a form that we know.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ai_core.engine.chat.call_forms import CallForm, form_in
from ai_core.engine.chat.conversation import HistoryForm, as_conversation, as_tools
from ai_core.engine.chat.thinking import Tags, tags_in
from ai_core.engine.messages import ChatMessage, Tool, ToolCall

Render = Callable[[list[dict[str, Any]], list[dict[str, Any]] | None], str | None]
"""Messages and tools to a prompt; None where the template fails on them."""

THINKING_SWITCHES = ("enable_thinking", "thinking")
"""Variables with which templates are told whether the model shall think: Qwen 3, GLM; DeepSeek, Granite."""
EFFORT = "reasoning_effort"
WELL_KNOWN = frozenset({*THINKING_SWITCHES, EFFORT, "tools"})
"""Variables that are known to mean the same in many templates."""

_NAME, _KEY, _VALUE, _RESULT = "probe_function", "probe_key", "probe_value", "probe_result"
_TOOL = Tool(
    _NAME,
    "A probe.",
    {"type": "object", "properties": {_KEY: {"type": "string", "description": "Any."}}, "required": [_KEY]},
)
_PROBE = (
    ChatMessage("user", "Probe."),
    ChatMessage("assistant", "", [ToolCall("call_0123456789", _NAME, json.dumps({_KEY: _VALUE}))]),
    ChatMessage("tool", _RESULT, tool_call_id="call_0123456789", name=_NAME),
)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one template can do."""

    variables: frozenset[str] = frozenset()
    """Those that it reads."""
    thinking: Tags | None = None
    """The tags around thoughts, if it knows any."""
    calls: CallForm | None = None
    """How its model writes calls. None: it takes no tools, or in a form that we cannot read."""
    history: HistoryForm = field(default_factory=HistoryForm)


def find_abilities(source: str, variables: frozenset[str], render: Render) -> Abilities:
    """What a template can do, from its source, the variables that it reads, and its renderings."""
    thinking = tags_in(source)
    if "tools" not in variables:
        return Abilities(variables, thinking)
    for null_content, as_text, short_ids in itertools.product((False, True), repeat=3):
        history = HistoryForm(null_content, as_text, short_ids)
        rendered = render(as_conversation(_PROBE, history), as_tools([_TOOL]))
        calls = None if rendered is None else _form(rendered)
        if calls is not None:
            return Abilities(variables, thinking, calls, history)
    return Abilities(variables, thinking)


def _form(rendered: str) -> CallForm | None:
    """The form of the call, if the model would read all of the conversation as it was meant."""
    # Arguments in quotes, or as Python writes them: the template took them for something else.
    meant = f'"{_KEY}": "{_VALUE}"' in rendered or f'"{_KEY}":"{_VALUE}"' in rendered
    if not meant or _RESULT not in rendered or "A probe." not in rendered:
        return None
    return form_in(rendered, _NAME)
