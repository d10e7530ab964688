"""What the routes under /api/v1 take."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from ai_core.api.chat_options import ChatParameters
from ai_core.api.conversation import Context, Message, Messages, to_engine
from ai_core.api.email_context import EmailContext
from ai_core.catalog.sampling import MaxTokens
from ai_core.engine.messages import ChatMessage
from ai_core.errors import InvalidRequest
from ai_core.inference.email import suggested_subject, with_email
from ai_core.inference.requests import GenerationRequest

DEFAULT_MAX_TOKENS = 512
DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.9

Prompt = Annotated[str, Field(min_length=1)]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:~-]{0,127}$")]
"""Whatever the caller likes to call it, as long as it can stand in a path."""


class NativeParameters(ChatParameters):
    """The defaults of our own routes."""

    max_tokens: MaxTokens | None = None
    email_context: EmailContext | None = None

    def email_answer(self, text: str) -> dict[str, Any]:
        """Further fields of the answer to a mail with this text; none without a mail."""
        if self.email_context is None:
            return {}
        subject = suggested_subject(self.email_context.email(), text)
        return {"suggested_subject": subject, "thread_id": self.email_context.thread_id}

    def _request(self, messages: list[ChatMessage] | None, prompt: str | None) -> GenerationRequest:
        if messages is not None and self.email_context is not None:
            messages = with_email(messages, self.email_context.email())
            if messages is None:
                raise InvalidRequest(
                    "'email_context' goes with the text of a mail: a message of the role 'user'.",
                    parameter="email_context",
                )
        return GenerationRequest(
            model=self.model,
            messages=messages,
            prompt=prompt,
            sampling=self.sampling(DEFAULT_TEMPERATURE, DEFAULT_TOP_P),
            max_tokens=self.max_tokens or DEFAULT_MAX_TOKENS,
            given=self.given(),
            adapter=self.adapter or "",
            stop=self.stop or [],
            grammar=self.output_grammar(),
            chat=self.chat_options(),
            user=self.user or "",
            cache=self.cache or "auto",
            keep_alive=self.keep_alive,
        )


class ChatBody(NativeParameters):
    """``messages``; or ``prompt`` for the newest one and ``context`` for those before it. With a
    ``session_id``, they continue what was said under this id before."""

    messages: Messages | None = None
    prompt: Prompt | None = None
    context: Context | None = None
    session_id: SessionId | None = None

    def to_request(self) -> GenerationRequest:
        """The request that this means. Raises InvalidRequest unless there is one form of it."""
        if self.session_id is not None and self.context is not None:
            raise InvalidRequest(
                "Send 'session_id' or 'context', not both: the session knows what was said before.",
                parameter="context",
            )
        return replace(self._request(to_engine(self._conversation()), None), session_id=self.session_id)

    @property
    def newest(self) -> str:
        """What the user said last; empty if nothing."""
        said = (message.content for message in reversed(self._conversation()) if message.role == "user")
        return next(said, "")

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
    """``prompt`` continued as it stands; with ``system`` or ``email_context`` it becomes a chat."""

    prompt: Prompt
    system: str | None = None

    def to_request(self) -> GenerationRequest:
        """The request that this means. Raises InvalidRequest for options of a chat where there is none."""
        question = ChatMessage("user", self.prompt)
        if self.system is not None:
            return self._request([ChatMessage("system", self.system), question], None)
        if self.email_context is not None:
            return self._request([question], None)
        if self.chat_template_kwargs:
            raise InvalidRequest(
                "'chat_template_kwargs' goes with 'system' or 'email_context': a prompt alone is continued "
                "without the chat template.",
                parameter="chat_template_kwargs",
            )
        return self._request(None, self.prompt)

    @property
    def newest(self) -> str:
        """What the user said."""
        return self.prompt
