"""The port between an answer and the style in which it goes out."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ai_core.inference.requests import Completion, Piece

encode = msgspec.json.Encoder().encode


class AnswerFormat(Protocol):
    """Bytes for one answer. The methods that stream give whole server-sent events."""

    def whole(self, completion: Completion) -> bytes:
        """The JSON body of an answer that is not streamed."""

    def first(self) -> bytes:
        """What a stream begins with; may be empty."""

    def delta(self, piece: Piece) -> bytes:
        """A piece of the answer; empty if its caller shall see nothing of it. Called once per token and
        stream, so it is quick."""

    def last(self, completion: Completion) -> bytes:
        """What a stream ends with."""
