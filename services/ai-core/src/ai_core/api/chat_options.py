"""What callers may say about a chat beside its messages: thoughts, and options of the template."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ai_core.api.parameters import GenerationParameters
from ai_core.engine.messages import ChatOptions

MAX_OPTIONS = 16
_LARGEST_NUMBER = 1_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""A template writes options into the prompt, so nothing goes through that could command anything there."""

TemplateOption = bool | int | float | str


def _template_options(value: dict[str, Any]) -> dict[str, Any]:
    for name, option in value.items():
        if not _NAME.fullmatch(name):
            raise PydanticCustomError("option_name", "Object should have names of template variables")
        simple = isinstance(option, bool)
        if isinstance(option, int | float):
            simple = -_LARGEST_NUMBER <= option <= _LARGEST_NUMBER
        elif isinstance(option, str):
            simple = _WORD.fullmatch(option) is not None
        if not simple:
            raise PydanticCustomError(
                "option_value",
                "Object should hold true or false, numbers up to a million, and words of up to 64 letters",
            )
    return value


_OPTIONS_SCHEMA = {
    "type": "object",
    "maxProperties": MAX_OPTIONS,
    "propertyNames": {"pattern": f"^{_NAME.pattern}$"},
    "additionalProperties": {
        "anyOf": [
            {"type": "boolean"},
            {"type": "number", "minimum": -_LARGEST_NUMBER, "maximum": _LARGEST_NUMBER},
            {"type": "string", "pattern": f"^{_WORD.pattern}$"},
        ]
    },
}
TemplateOptions = Annotated[
    dict[str, Any],
    Field(max_length=MAX_OPTIONS),
    AfterValidator(_template_options),
    WithJsonSchema(_OPTIONS_SCHEMA),
]


class ChatParameters(GenerationParameters):
    """Parameters of every route that answers chats."""

    reasoning: bool | None = None
    """Whether the answer says what the model thought; thoughts are counted in any case."""
    chat_template_kwargs: TemplateOptions | None = None
    """Variables of the model's chat template, e.g. ``enable_thinking``."""

    def chat_options(self) -> ChatOptions:
        """The engine's form."""
        return ChatOptions(template_options=self.chat_template_kwargs or {})
