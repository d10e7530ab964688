"""The answers of the routes under /api/v1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ai_core.api.answer_format import encode
from ai_core.api.event_stream import event
from ai_core.inference.requests import Completion, Origin, Piece


def utc_now() -> datetime:
    """The time of an answer, with its zone."""
    return datetime.now(UTC)


class NativeFormat:
    """Streams ``{"delta": "…"}``, and at the end the fields of an answer that is not streamed."""

    def __init__(
        self,
        now: Callable[[], datetime] = utc_now,
        *,
        reasoning: bool = False,
        further: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """``reasoning``: thoughts go out; ``further``: fields that do not depend on the model's words."""
        self._now = now
        self._reasoning = reasoning
        self._further = further

    def whole(self, completions: Sequence[Completion]) -> bytes:
        """``tokens_used`` counts prompt and completion; ``processing_time`` is in seconds."""
        [completion] = completions
        usage = completion.usage
        fields: dict[str, Any] = {
            "response": completion.text,
            "model": completion.model,
            "tokens_used": usage.total_tokens,
            "processing_time": round(completion.seconds, 3),
            "timestamp": self._now().isoformat(timespec="milliseconds"),
            "finish_reason": completion.finish_reason,
            "cached": completion.origin is Origin.CACHED,
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "cached_prompt_tokens": usage.cached_prompt_tokens,
            },
        }
        if usage.reasoning_tokens:
            fields["usage"]["reasoning_tokens"] = usage.reasoning_tokens
        if self._reasoning:
            fields["reasoning"] = completion.reasoning or None
        return encode(fields | dict(self._further))

    def first(self, _choices: int) -> bytes:
        """Nothing: the first event is the first text."""
        return b""

    def delta(self, piece: Piece, choice: int = 0) -> bytes:
        """One event; with thoughts and text, one for each."""
        thoughts = b""
        if piece.reasoning and self._reasoning:
            thoughts = b'data: {"reasoning_delta":' + encode(piece.reasoning) + b"}\n\n"
        return thoughts + b'data: {"delta":' + encode(piece.text) + b"}\n\n" if piece.text else thoughts

    def end(self, completion: Completion, choice: int = 0) -> bytes:
        """Nothing: there is one choice, and the last event tells of it."""
        return b""

    def last(self, completions: Sequence[Completion]) -> bytes:
        """One event, known by its field ``response``."""
        return event(self.whole(completions))
