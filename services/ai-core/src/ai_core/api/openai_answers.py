"""OpenAI's answers: https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ai_core.api.answer_format import encode
from ai_core.api.event_stream import event
from ai_core.api.logprob_answers import chat_logprobs
from ai_core.engine.messages import TokenLogprob, ToolCall
from ai_core.inference.choices import usage_of
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
        self._templates: dict[int, tuple[bytes, bytes]] = {}

    def whole(self, completions: Sequence[Completion]) -> bytes:
        """A ``chat.completion``."""
        choices = [
            {
                "index": number,
                "message": self._message(completion),
                "logprobs": None if completion.logprobs is None else chat_logprobs(completion.logprobs),
                "finish_reason": completion.finish_reason,
            }
            for number, completion in enumerate(completions)
        ]
        return encode(self._object("chat.completion", choices) | {"usage": _usage(completions)})

    def first(self, choices: int) -> bytes:
        """The chunks that name the role."""
        role = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(event(encode(self._chunk(role, None, choice))) for choice in range(choices))

    def delta(self, piece: Piece, choice: int = 0) -> bytes:
        """A chunk with text, thoughts or calls."""
        if not piece.reasoning and not piece.calls and piece.logprobs is None:
            before, after = self._templates.get(choice) or self._template(choice)
            return before + encode(piece.text) + after
        delta: dict[str, Any] = {}
        if piece.reasoning and self._reasoning:
            delta["reasoning_content"] = piece.reasoning
        if piece.text:
            delta["content"] = piece.text
        if piece.calls:
            delta["tool_calls"] = [_call_part(part) for part in piece.calls]
        if not delta and not piece.logprobs:
            return b""
        return event(encode(self._chunk(delta, None, choice, piece.logprobs)))

    def end(self, completion: Completion, choice: int = 0) -> bytes:
        """The chunk with the reason of a choice's end."""
        return event(encode(self._chunk({}, completion.finish_reason, choice)))

    def last(self, completions: Sequence[Completion]) -> bytes:
        """The chunk with token counts if asked for, and ``[DONE]``."""
        if not self._include_usage:
            return DONE
        counts = self._object("chat.completion.chunk", []) | {"usage": _usage(completions)}
        return event(encode(counts)) + DONE

    def _template(self, choice: int) -> tuple[bytes, bytes]:
        """All that stays the same from one piece of text to the next is encoded once."""
        sample = event(encode(self._chunk({"content": "\x00"}, None, choice)))
        before, _, after = sample.partition(b'"\\u0000"')
        self._templates[choice] = before, after
        return before, after

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

    def _chunk(
        self,
        delta: dict[str, Any],
        finish_reason: str | None,
        index: int,
        logprobs: Sequence[TokenLogprob] | None = None,
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": None if logprobs is None else chat_logprobs(logprobs),
            "finish_reason": finish_reason,
        }
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


def _usage(completions: Sequence[Completion]) -> dict[str, Any]:
    return usage_fields(usage_of(completions, per_prompt=len(completions)))


def usage_fields(usage: Usage) -> dict[str, Any]:
    """OpenAI's form of token counts."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }
    if usage.reasoning_tokens:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts
