"""What ``/v1/chat/completions`` takes: https://platform.openai.com/docs/api-reference/chat/create

Every parameter of OpenAI's is known here: honoured, or taken where its value asks for nothing, or
refused. None is ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ai_core.api.chat_options import ChatParameters
from ai_core.api.json_body import JsonObject
from ai_core.api.openai_conversation import OpenAIMessages, conversation
from ai_core.api.parameters import MAX_CHOICES, MAX_TOP_LOGPROBS, only
from ai_core.api.tools import Choice, ToolChoice, Tools
from ai_core.catalog.sampling import MaxTokens
from ai_core.engine.messages import ChatOptions
from ai_core.errors import InvalidRequest
from ai_core.inference.choices import spread
from ai_core.inference.requests import GenerationRequest

OPENAI_TEMPERATURE = 1.0
OPENAI_TOP_P = 1.0


ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class StreamOptions(JsonObject):
    """What a stream holds besides text."""

    include_usage: bool | None = None
    include_obfuscation: Annotated[Any, only(None, False)] = None


class ChatCompletionBody(ChatParameters):
    """The honoured parameters first, then those of which only the idle values are taken."""

    messages: OpenAIMessages
    tools: Tools | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    stream_options: StreamOptions | None = None
    safety_identifier: Annotated[str, Field(max_length=256)] | None = None

    functions: Annotated[Any, only(None, [])] = None
    function_call: Annotated[Any, only(None, "none", "auto")] = None
    modalities: Annotated[Any, only(None, ["text"])] = None
    audio: Annotated[Any, only(None)] = None
    prediction: Annotated[Any, only(None)] = None
    verbosity: Annotated[Any, only(None, "medium")] = None
    web_search_options: Annotated[Any, only(None)] = None
    moderation: Annotated[Any, only(None)] = None
    service_tier: Annotated[Any, only(None, "auto", "default")] = None
    store: Annotated[Any, only(None, False)] = None
    # Labels of stored answers, and hints for a cache that works without them here.
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Annotated[Any, only(None, "in_memory", "in-memory")] = None
    prompt_cache_options: Annotated[Any, only(None)] = None

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def chat_options(self) -> ChatOptions:
        """Tools included. Raises InvalidRequest where two parameters do not go together."""
        choice = Choice(self.tools, self.tool_choice)
        return ChatOptions(
            tools=choice.tools,
            tool_choice=choice.required,
            forced_tool=choice.forced,
            parallel_tool_calls=self.parallel_tool_calls is not False,
            reasoning_effort=self.reasoning_effort or "",
            template_options=self.chat_template_kwargs or {},
        )

    def to_requests(self) -> list[GenerationRequest]:
        """The requests that this means, one for each choice.

        Raises:
            InvalidRequest: two parameters do not go together.
        """
        refuse_lone_options(self.stream_options, stream=bool(self.stream))
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequest("'top_logprobs' goes with 'logprobs': true only.", parameter="top_logprobs")
        grammar = self.output_grammar()
        chat = self.chat_options()
        if grammar is not None and chat.tools:
            raise InvalidRequest(
                "An answer in a given form cannot call tools as well: send 'response_format' or 'grammar', "
                "or 'tools'; or say 'tool_choice': \"none\".",
                parameter="tools",
            )
        request = GenerationRequest(
            model=self.model,
            messages=conversation(self.messages),
            chat=chat,
            sampling=self.sampling(OPENAI_TEMPERATURE, OPENAI_TOP_P),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            given=self.given(),
            adapter=self.adapter or "",
            stop=self.stop or [],
            grammar=grammar,
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            user=self.user or self.safety_identifier or "",
            cache=self.cache or "auto",
            keep_alive=self.keep_alive,
        )
        return spread(request, self.n or 1)


def refuse_lone_options(options: StreamOptions | None, *, stream: bool) -> None:
    """Raises InvalidRequest for options of a stream where there is none."""
    if options is not None and not stream:
        raise InvalidRequest("'stream_options' goes with 'stream': true only.", parameter="stream_options")
