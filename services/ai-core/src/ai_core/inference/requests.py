"""What goes into an answer and what comes out, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from ai_core.access.caller import NO_LIMITS, KeyLimits
from ai_core.engine.messages import (
    ChatMessage,
    ChatOptions,
    FinishReason,
    Grammar,
    Sampling,
    Submit,
    TokenLogprob,
    ToolCall,
)

REST_OF_CONTEXT = 4_096
"""Tokens for a caller who sets no bound of its own: enough for any chat, and an end for loops."""

CachePolicy = Literal["auto", "always", "never"]
"""Whether an answer may be one that was computed for another request: ``auto`` where it would be the same."""


class Origin(StrEnum):
    """What an answer cost: only ``computed`` ones took an engine's time on behalf of their caller."""

    COMPUTED = "computed"
    JOINED = "joined"
    """An identical request was under way, and its answer serves this one too."""
    CACHED = "cached"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What a caller wants. Exactly one of ``messages`` (a chat) and ``prompt`` (raw text) is set."""

    model: str | None
    messages: list[ChatMessage] | None = None
    prompt: str | None = None
    sampling: Sampling
    max_tokens: int | None
    """None: the rest of the context, at most :data:`REST_OF_CONTEXT`."""
    given: frozenset[str] = frozenset()
    """Of ``sampling`` and ``max_tokens``, what the caller set: for the rest, the model's defaults count."""
    adapter: str = ""
    """The LoRA adapter of the model to answer with; empty: none."""
    fallbacks: tuple[str, ...] = ()
    """Models that answer instead, one after the other, while the one before is out of service."""
    stop: list[str]
    chat: ChatOptions = field(default_factory=ChatOptions)
    """Tools, and options of the chat template."""
    grammar: Grammar | None = None
    logprobs: int | None = None
    """As in ``messages.Submit``."""
    choice: int = 0
    """Which of several answers to the same prompt this is. Only the first counts as a request and pays
    for the prompt."""
    user: str = ""
    """Whom this is for, as the caller calls them."""
    fairness_key: str = ""
    """Waiting requests of one priority take turns by it."""
    priority: int = 0
    """Higher goes first."""
    key_id: str = ""
    """Of the caller's API key: what is kept of answers and conversations belongs to it."""
    limits: KeyLimits = NO_LIMITS
    """Of that key."""
    timeout: float | None = None
    """Seconds that it may wait before its first token is computed; None: as long as requests wait here."""
    cache: CachePolicy = "auto"
    keep_alive: float | None = None
    """Seconds that the model stays in memory after this answer; negative: for ever; None: as before."""
    session_id: str | None = None
    """The conversation that ``messages`` continue; it belongs to the API key."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request. ``cached_prompt_tokens`` is the part of the prompt not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    reasoning_tokens: int = 0
    """Of the completion's; counted whether the caller wants to see them or not."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of a function call: the first one of a call has its id and name."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """What an answer grows by; never empty. Within one piece, reasoning comes before text and text
    before calls."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[CallPart, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Of the tokens of ``text``, where the request asks for them."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer. ``seconds`` counts from the request's arrival to the last token."""

    model: str
    text: str
    finish_reason: FinishReason
    usage: Usage
    seconds: float
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One entry per token of the text, where the request asks for them."""
    reasoning: str = ""
    """What the model thought before it answered. The edge leaves it out unless it is asked for."""
    tool_calls: tuple[ToolCall, ...] = ()
    origin: Origin = Origin.COMPUTED


def to_submit(request: GenerationRequest, timeout: float) -> Submit:
    """The engine's form of a request; ``timeout`` bounds the wait, in seconds."""
    return Submit(
        id=0,
        messages=request.messages,
        prompt=request.prompt,
        sampling=request.sampling,
        max_tokens=REST_OF_CONTEXT if request.max_tokens is None else request.max_tokens,
        stop=request.stop,
        chat=request.chat,
        grammar=request.grammar,
        logprobs=request.logprobs,
        priority=request.priority,
        fairness_key=request.fairness_key,
        timeout=timeout,
        adapter=request.adapter,
    )
