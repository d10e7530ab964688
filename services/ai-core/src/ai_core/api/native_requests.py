"""What the routes under /api/v1 take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ai_core.api.conversation import Context, Message, Messages, to_engine
from ai_core.api.parameters import GenerationParameters, MaxTokens
from ai_core.engine.messages import ChatMessage
from ai_core.errors import InvalidRequest
from ai_core.inference.requests import GenerationRequest

DEFAULT_MAX_TOKENS = 512
DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.9

Prompt = Annotated[str, Field(min_length=1)]


class NativeParameters(GenerationParameters):
    """The defaults of our own routes."""

    max_tokens: MaxTokens | None = None

    def _request(self, messages: list[ChatMessage] | None, prompt: str | None) -> GenerationRequest:
        return GenerationRequest(
            model=self.model,
            messages=messages,
            prompt=prompt,
            sampling=self.sampling(DEFAULT_TEMPERATURE, DEFAULT_TOP_P),
            max_tokens=self.max_tokens or DEFAULT_MAX_TOKENS,
            stop=self.stop or [],
            user=self.user or "",
        )


class ChatBody(NativeParameters):
    """``messages``; or ``prompt`` for the newest one and ``context`` for those before it."""

    messages: Messages | None = None
    prompt: Prompt | None = None
    context: Context | None = None

    def to_request(self) -> GenerationRequest:
        """The request that this means. Raises InvalidRequest unless there is one form of it."""
        return self._request(to_engine(self._conversation()), None)

    def _conversation(self) -> list[Message]:
        if self.messages is not None:
            for name in ("prompt", "context"):
                if getattr(self, name) is not None:
                    raise InvalidRequest(f"Send 'messages' or '{name}', not both.", parameter=name)
            return self.messages
        if self.prompt is None:
            raise InvalidRequest("'messages' is missing.", code="missing_parameter", parameter="messages")
        return [*(self.context or ()), Message(role="user", content=self.prompt)]


class GenerateBody(NativeParameters):
    """``prompt`` continued as it stands; with ``system`` it becomes a chat of two messages."""

    prompt: Prompt
    system: str | None = None

    def to_request(self) -> GenerationRequest:
        """The request that this means."""
        if self.system is None:
            return self._request(None, self.prompt)
        return self._request([ChatMessage("system", self.system), ChatMessage("user", self.prompt)], None)
