"""What goes into an answer and what comes out, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from ai_core.engine.messages import ChatMessage, FinishReason, Grammar, Sampling, Submit, TokenLogprob

REST_OF_CONTEXT = 4_096
"""Tokens for a caller who sets no bound of its own: enough for any chat, and an end for loops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What a caller wants. Exactly one of ``messages`` (a chat) and ``prompt`` (raw text) is set."""

    model: str | None
    messages: list[ChatMessage] | None = None
    prompt: str | None = None
    sampling: Sampling
    max_tokens: int | None
    """None: the rest of the context, at most :data:`REST_OF_CONTEXT`."""
    stop: list[str]
    grammar: Grammar | None = None
    logprobs: int | None = None
    """As in ``messages.Submit``."""
    choices: int = 1
    """Answers to one prompt; with a seed, choice i has the seed + i."""
    user: str = ""
    """Whom this is for, as the caller calls them: waiting requests take turns by it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request. ``cached_prompt_tokens`` is the part of the prompt not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int

    @property
    def total_tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


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


def to_submit(request: GenerationRequest, timeout: float) -> Submit:
    """The engine's form of a request; ``timeout`` bounds the wait, in seconds."""
    return Submit(
        id=0,
        messages=request.messages,
        prompt=request.prompt,
        sampling=request.sampling,
        max_tokens=REST_OF_CONTEXT if request.max_tokens is None else request.max_tokens,
        stop=request.stop,
        grammar=request.grammar,
        logprobs=request.logprobs,
        fairness_key=request.user,
        timeout=timeout,
    )
