"""Answers of ``/v1/completions``: https://platform.openai.com/docs/api-reference/completions/object"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ai_core.api.answer_format import encode
from ai_core.api.event_stream import event
from ai_core.api.logprob_answers import CompletionLogprobs
from ai_core.api.openai_answers import DONE, usage_fields
from ai_core.inference.choices import usage_of
from ai_core.inference.requests import Completion, Piece


class CompletionFormat:
    """One completion object with all its choices. ``created`` is in seconds since 1970."""

    def __init__(
        self, request_id: str, created: int, model: str, *, include_usage: bool, per_prompt: int = 1
    ) -> None:
        """``per_prompt``: how many choices each prompt has."""
        self._id = f"cmpl-{request_id}"
        self._created = created
        self._model = model
        self._include_usage = include_usage
        self._per_prompt = per_prompt
        self._logprobs: dict[int, CompletionLogprobs] = {}
        self._templates: dict[int, tuple[bytes, bytes]] = {}

    def whole(self, completions: Sequence[Completion]) -> bytes:
        """A ``text_completion``."""
        choices = [
            self._choice(
                number,
                completion.text,
                None if completion.logprobs is None else CompletionLogprobs().add(completion.logprobs),
                completion.finish_reason,
            )
            for number, completion in enumerate(completions)
        ]
        return encode(self._object(choices) | {"usage": self._usage(completions)})

    def first(self, _choices: int) -> bytes:
        """Nothing: the first event is the first text."""
        return b""

    def delta(self, piece: Piece, choice: int = 0) -> bytes:
        """A chunk with text."""
        if piece.logprobs is None:
            before, after = self._templates.get(choice) or self._template(choice)
            return before + encode(piece.text) + after
        logprobs = self._logprobs.setdefault(choice, CompletionLogprobs()).add(piece.logprobs)
        return self._chunk(self._choice(choice, piece.text, logprobs, None))

    def end(self, completion: Completion, choice: int = 0) -> bytes:
        """The chunk with the reason of a choice's end."""
        return self._chunk(self._choice(choice, "", None, completion.finish_reason))

    def last(self, completions: Sequence[Completion]) -> bytes:
        """The chunk with token counts if asked for, and ``[DONE]``."""
        if not self._include_usage:
            return DONE
        return event(encode(self._object([]) | {"usage": self._usage(completions)})) + DONE

    def _template(self, choice: int) -> tuple[bytes, bytes]:
        """All that stays the same from one piece of text to the next is encoded once."""
        before, _, after = self._chunk(self._choice(choice, "\x00", None, None)).partition(b'"\\u0000"')
        self._templates[choice] = before, after
        return before, after

    def _usage(self, completions: Sequence[Completion]) -> dict[str, Any]:
        return usage_fields(usage_of(completions, self._per_prompt))

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        chunk = self._object([choice])
        return event(encode(chunk | {"usage": None} if self._include_usage else chunk))

    @staticmethod
    def _choice(
        index: int, text: str, logprobs: dict[str, Any] | None, finish_reason: str | None
    ) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}

    def _object(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
