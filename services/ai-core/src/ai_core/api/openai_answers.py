"""OpenAI's answers: https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming"""

from __future__ import annotations

from typing import Any

from ai_core.api.answer_format import encode
from ai_core.api.event_stream import event
from ai_core.inference.requests import Completion, Piece, Usage

DONE = b"data: [DONE]\n\n"


class OpenAIFormat:
    """One chat completion. ``created`` is in seconds since 1970."""

    def __init__(self, request_id: str, created: int, model: str, *, include_usage: bool) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._created = created
        self._model = model
        self._include_usage = include_usage
        # All that stays the same from one piece of text to the next is encoded once.
        sample = self._chunk({"content": "\x00"}, None)
        self._before, self._after = event(encode(sample)).split(b'"\\u0000"')

    def whole(self, completion: Completion) -> bytes:
        """A ``chat.completion``."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": completion.text, "refusal": None},
            "logprobs": None,
            "finish_reason": completion.finish_reason,
        }
        return encode(self._object("chat.completion", [choice]) | {"usage": _usage(completion.usage)})

    def first(self) -> bytes:
        """The chunk that names the role."""
        return event(encode(self._chunk({"role": "assistant", "content": "", "refusal": None}, None)))

    def delta(self, piece: Piece) -> bytes:
        """A chunk with text."""
        return self._before + encode(piece.text) + self._after if piece.text else b""

    def last(self, completion: Completion) -> bytes:
        """The chunk with the reason of the end, the one with token counts if asked for, and ``[DONE]``."""
        chunks = event(encode(self._chunk({}, completion.finish_reason)))
        if self._include_usage:
            counts = self._object("chat.completion.chunk", []) | {"usage": _usage(completion.usage)}
            chunks += event(encode(counts))
        return chunks + DONE

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._object("chat.completion.chunk", [choice])
        return chunk | {"usage": None} if self._include_usage else chunk

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }
