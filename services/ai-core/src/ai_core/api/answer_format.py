"""The port between an answer and the style in which it goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from ai_core.inference.requests import Completion, Piece

encode = msgspec.json.Encoder().encode


class AnswerFormat(Protocol):
    """Bytes for one answer, which may have several choices: they are known by their numbers, from 0. The
    methods that stream give whole server-sent events."""

    def whole(self, completions: Sequence[Completion]) -> bytes:
        """The JSON body of an answer that is not streamed."""

    def first(self, choices: int) -> bytes:
        """What a stream of so many choices begins with; may be empty."""

    def delta(self, piece: Piece, choice: int = 0) -> bytes:
        """A piece of the answer; empty if its caller shall see nothing of it. Called once per token and
        stream, so it is quick."""

    def end(self, completion: Completion, choice: int = 0) -> bytes:
        """What a choice ends with; may be empty."""

    def last(self, completions: Sequence[Completion]) -> bytes:
        """What a stream ends with."""
