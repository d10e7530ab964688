"""OpenAI's answers: https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming"""

from __future__ import annotations

from typing import Any

from ai_core.api.answer_format import encode
from ai_core.api.event_stream import event
from ai_core.engine.messages import ToolCall
from ai_core.inference.requests import CallPart, Completion, Piece, Usage

DONE = b"data: [DONE]\n\n"


class OpenAIFormat:
    """One chat completion. ``created`` is in seconds since 1970."""

    def __init__(
        self,
        request_id: str,
        created: int,
        model: str,
        *,
        include_usage: bool,
        reasoning: bool = False,
    ) -> None:
        """``reasoning``: thoughts go out, as ``reasoning_content``."""
        self._id = f"chatcmpl-{request_id}"
        self._created = created
        self._model = model
        self._include_usage = include_usage
        self._reasoning = reasoning
        # All that stays the same from one piece of text to the next is encoded once.
        sample = self._chunk({"content": "\x00"}, None)
        self._before, self._after = event(encode(sample)).split(b'"\\u0000"')

    def whole(self, completion: Completion) -> bytes:
        """A ``chat.completion``."""
        choice = {
            "index": 0,
            "message": self._message(completion),
            "logprobs": None,
            "finish_reason": completion.finish_reason,
        }
        return encode(self._object("chat.completion", [choice]) | {"usage": _usage(completion.usage)})

    def first(self) -> bytes:
        """The chunk that names the role."""
        return event(encode(self._chunk({"role": "assistant", "content": "", "refusal": None}, None)))

    def delta(self, piece: Piece) -> bytes:
        """A chunk with text, thoughts or calls."""
        if not piece.reasoning and not piece.calls:
            return self._before + encode(piece.text) + self._after
        delta: dict[str, Any] = {}
        if piece.reasoning and self._reasoning:
            delta["reasoning_content"] = piece.reasoning
        if piece.text:
            delta["content"] = piece.text
        if piece.calls:
            delta["tool_calls"] = [_call_part(part) for part in piece.calls]
        return event(encode(self._chunk(delta, None))) if delta else b""

    def last(self, completion: Completion) -> bytes:
        """The chunk with the reason of the end, the one with token counts if asked for, and ``[DONE]``."""
        chunks = event(encode(self._chunk({}, completion.finish_reason)))
        if self._include_usage:
            counts = self._object("chat.completion.chunk", []) | {"usage": _usage(completion.usage)}
            chunks += event(encode(counts))
        return chunks + DONE

    def _message(self, completion: Completion) -> dict[str, Any]:
        calls = [_call(call) for call in completion.tool_calls]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": completion.text if completion.text or not calls else None,
            "refusal": None,
        }
        if self._reasoning:
            message["reasoning_content"] = completion.reasoning or None
        return message | {"tool_calls": calls} if calls else message

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


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _call_part(part: CallPart) -> dict[str, Any]:
    if not part.id:
        return {"index": part.index, "function": {"arguments": part.arguments}}
    return {"index": part.index} | _call(ToolCall(part.id, part.name, part.arguments))


def _usage(usage: Usage) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }
    if usage.reasoning_tokens:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts
