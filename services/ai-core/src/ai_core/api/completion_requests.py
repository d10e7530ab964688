"""What ``/v1/completions`` takes: https://platform.openai.com/docs/api-reference/completions/create"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ai_core.api.openai_requests import OPENAI_TEMPERATURE, OPENAI_TOP_P, StreamOptions, refuse_lone_options
from ai_core.api.parameters import MAX_CHOICES, GenerationParameters, only
from ai_core.catalog.sampling import MaxTokens
from ai_core.errors import InvalidRequest
from ai_core.inference.choices import spread
from ai_core.inference.requests import GenerationRequest

DEFAULT_MAX_TOKENS = 16
"""OpenAI's."""
MAX_PROMPTS = 16
MAX_ANSWERS = 32
"""Prompts times choices."""
MAX_LOGPROBS = 5


def _as_texts(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and any(isinstance(entry, int | list) for entry in value):
        raise PydanticCustomError("token_ids", "Value should be text: token ids are not supported here")
    return value


Prompts = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(min_length=1, max_length=MAX_PROMPTS),
    BeforeValidator(_as_texts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_PROMPTS,
                    "items": {"type": "string", "minLength": 1},
                },
            ]
        }
    ),
]


class CompletionBody(GenerationParameters):
    """A text to be continued, or several of them. The chat template does not apply."""

    prompt: Prompts
    max_tokens: MaxTokens | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    stream_options: StreamOptions | None = None

    best_of: Annotated[Any, only(None, 1)] = None
    echo: Annotated[Any, only(None, False)] = None
    suffix: Annotated[Any, only(None, "")] = None

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def choices(self) -> int:
        """Answers to each prompt."""
        return self.n or 1

    def to_requests(self) -> list[GenerationRequest]:
        """The requests that this means: the choices of the first prompt, then those of the next.

        Raises:
            InvalidRequest: two parameters do not go together.
        """
        refuse_lone_options(self.stream_options, stream=bool(self.stream))
        if len(self.prompt) * self.choices > MAX_ANSWERS:
            raise InvalidRequest(
                f"{len(self.prompt)} prompts with {self.choices} choices each are more than the "
                f"{MAX_ANSWERS} answers that one request may have.",
                parameter="n",
            )
        return [request for prompt in self.prompt for request in spread(self._request(prompt), self.choices)]

    def _request(self, prompt: str) -> GenerationRequest:
        return GenerationRequest(
            model=self.model,
            prompt=prompt,
            sampling=self.sampling(OPENAI_TEMPERATURE, OPENAI_TOP_P),
            max_tokens=self.max_tokens or DEFAULT_MAX_TOKENS,
            given=self.given(),
            adapter=self.adapter or "",
            stop=self.stop or [],
            grammar=self.output_grammar(),
            logprobs=self.logprobs,
            user=self.user or "",
            cache=self.cache or "auto",
            keep_alive=self.keep_alive,
        )
