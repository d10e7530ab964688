"""What ``/v1/embeddings`` takes: https://platform.openai.com/docs/api-reference/embeddings/create"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ai_core.api.json_body import JsonObject
from ai_core.api.parameters import MAX_TOKEN_ID, ModelName
from ai_core.api.residency_requests import KeepAlive
from ai_core.inference.embeddings import EmbeddingRequest

MAX_INPUTS = 2_048
MAX_DIMENSIONS = 65_536

_TOKENS = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID},
}
_INPUT_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": {"type": "string", "minLength": 1}},
        _TOKENS,
        {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": _TOKENS},
    ],
    "description": "A text, several texts, the token ids of a text, or of several.",
    "examples": ["Combien de congés payés par an ?"],
}


def _as_inputs(value: Any) -> Any:
    """The list that all four forms mean."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise _unusable("should be a text, or a list that is not empty")
    if all(type(one) is int for one in value):
        value = [value]
    if len(value) > MAX_INPUTS:
        raise _unusable(f"should hold at most {MAX_INPUTS} inputs")
    for number, one in enumerate(value):
        if isinstance(one, str) and one:
            continue
        if not isinstance(one, list) or not one or not all(map(_is_token, one)):
            raise _unusable(
                f"should hold texts or lists of token ids, none of them empty; number {number} is not"
            )
    return value


def _is_token(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_TOKEN_ID


def _unusable(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("embedding_input", "Value {sentence}", {"sentence": sentence})


Inputs = Annotated[list[Any], BeforeValidator(_as_inputs), WithJsonSchema(_INPUT_SCHEMA)]


class EmbeddingsBody(JsonObject):
    """Texts for vectors. Tokens are those of the model named, its special tokens included."""

    model: ModelName
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=MAX_DIMENSIONS)] | None = None
    keep_alive: KeepAlive | None = None
    """How long the model stays in memory after this answer."""
    user: Annotated[str, Field(max_length=256)] | None = None

    def to_request(self) -> EmbeddingRequest:
        """The request that this means."""
        return EmbeddingRequest(
            model=self.model,
            inputs=self.input,
            dimensions=self.dimensions,
            user=self.user or "",
            keep_alive=self.keep_alive,
        )
