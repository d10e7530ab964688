"""What is asked of the AI core, and what comes back. Fields left at None are the server's to choose."""

from __future__ import annotations

from typing import Literal

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A body of ``POST /api/v1/chat``."""

    messages: list[Message]
    model: str | None = None
    adapter: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    user: str | None = None
    """A pseudonym: the AI core serves users of one key in turn."""


class EarlierMail(msgspec.Struct, frozen=True):
    """A mail of the same thread."""

    content: str
    sender: str


class EmailContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a mail that is to be answered. The AI core shows all of it to the model as data."""

    sender: str = ""
    subject: str = ""
    thread_id: str = ""
    previous_messages: list[EarlierMail] = []
    """The oldest first."""
    language: Literal["fr", "en"] | None = None


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A body of ``POST /api/v1/generate``."""

    prompt: str
    system: str | None = None
    email_context: EmailContext | None = None
    model: str | None = None
    adapter: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    user: str | None = None
    """A pseudonym, as in :class:`ChatRequest`."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    response: str
    model: str
    finish_reason: str
    usage: Usage = Usage()
    suggested_subject: str | None = None


class Delta(msgspec.Struct, frozen=True):
    """New text of an answer under way."""

    text: str


class ModelFacts(msgspec.Struct, frozen=True):
    """One entry of ``GET /api/v1/models``, as far as channels care."""

    name: str
    default: bool = False
    kind: str = "generation"
