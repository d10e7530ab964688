"""What an answer has to look like, as callers say it: ``response_format`` and ``grammar``.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-response_format. Whether a schema
or a grammar can be followed is decided by the engine, which compiles it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from ai_core.api.json_body import JsonObject
from ai_core.engine.messages import Grammar
from ai_core.errors import InvalidRequest

MAX_GRAMMAR = 100_000

GbnfText = Annotated[str, Field(min_length=1, max_length=MAX_GRAMMAR)]


class JsonSchemaForm(JsonObject):
    """A JSON schema with a name. It is always followed exactly, so ``strict`` changes nothing."""

    name: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(JsonObject):
    """``text``, ``json_object``, or ``json_schema`` with a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaForm | None = None

    def to_grammar(self) -> Grammar | None:
        """The engine's form. Raises InvalidRequest where type and schema do not go together."""
        if (self.type == "json_schema") is not (self.json_schema is not None):
            raise InvalidRequest(
                "'response_format.json_schema' goes with the type 'json_schema', and only with that.",
                parameter="response_format",
            )
        if self.json_schema is not None:
            return Grammar("json_schema", json.dumps(self.json_schema.schema_, ensure_ascii=False))
        return Grammar("json_object") if self.type == "json_object" else None


def output_grammar(response_format: ResponseFormat | None, grammar: str | None) -> Grammar | None:
    """The engine's form of both parameters. Raises InvalidRequest where they do not go together."""
    wanted = None if response_format is None else response_format.to_grammar()
    if grammar is None:
        return wanted
    if wanted is not None:
        raise InvalidRequest("Send 'response_format' or 'grammar', not both.", parameter="grammar")
    return Grammar("gbnf", grammar)
