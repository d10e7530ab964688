"""Answers while they are made, and their ends."""

from __future__ import annotations

from typing import Literal

import msgspec

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled"]
"""``content_filter`` comes from the API process, which looks at answers on their way out."""


class Alternative(msgspec.Struct, frozen=True, array_like=True):
    """A token that might have come. ``logprob`` is the natural logarithm of its probability by the
    model's raw logits: temperature 1, before filters, biases, penalties and grammars."""

    token: bytes
    """May end inside a UTF-8 character. Of a control token: the text that stands for it in templates."""
    logprob: float
    control: bool = False


class TokenLogprob(Alternative, frozen=True, array_like=True):
    """A generated token; ``top`` are the likeliest ones in its place, likeliest first."""

    top: list[Alternative] = []


class CallPiece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a function call. A call's first piece has its name, and each may have more of its
    arguments; calls come one after the other."""

    index: int
    """Of the call in its answer, from 0."""
    name: str = ""
    arguments: str = ""


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """New text of one request in this step. ``text`` may be empty while text is held back.

    ``logprobs`` belongs to the text: a token's entry comes with its last character; None unless the
    request asks for it.
    """

    id: int
    text: str
    tokens: int
    logprobs: list[TokenLogprob] | None = None
    reasoning: str = ""
    """Comes before any text."""
    calls: list[CallPiece] = []


class Finished(msgspec.Struct, frozen=True, array_like=True):
    """The end of one request. ``text`` is what was still held back."""

    id: int
    reason: FinishReason
    text: str
    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    queue_seconds: float
    prefill_seconds: float
    logprobs: list[TokenLogprob] | None = None
    """As in :class:`Delta`, for ``text``."""
    reasoning: str = ""
    calls: list[CallPiece] = []
    reasoning_tokens: int = 0
    """Of ``completion_tokens``."""
    vectors: bytes = b""
    """For ``inputs``: one vector of length 1 after the other, as 32-bit floats in this machine's order."""


class Failed(msgspec.Struct, frozen=True, array_like=True):
    """The engine could not finish this request; others are not concerned."""

    id: int
    code: Literal["timeout", "decode_error", "grammar_too_complex", "shutting_down"]
    message: str
    parameter: str | None = None
    """The field at fault, where the request itself is (``grammar_too_complex``)."""
