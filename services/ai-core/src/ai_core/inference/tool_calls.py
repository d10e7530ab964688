"""The function calls of one answer, put together from their pieces."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from ai_core.engine.messages import CallPiece, ToolCall
from ai_core.inference.requests import CallPart


def new_call_id() -> str:
    """An id that no other call has; in OpenAI's form."""
    return f"call_{secrets.token_hex(12)}"


class ToolCalls:
    """Gives every call its id when its first piece comes."""

    def __init__(self, new_id: Callable[[], str] = new_call_id) -> None:
        self._new_id = new_id
        self._ids: list[str] = []
        self._names: list[str] = []
        self._arguments: list[list[str]] = []

    def add(self, pieces: Iterable[CallPiece]) -> tuple[CallPart, ...]:
        """The same pieces with ids where a call begins."""
        return tuple(self._add(piece) for piece in pieces)

    def whole(self) -> tuple[ToolCall, ...]:
        """All calls so far."""
        calls = zip(self._ids, self._names, self._arguments, strict=True)
        return tuple(ToolCall(call_id, name, "".join(parts)) for call_id, name, parts in calls)

    def _add(self, piece: CallPiece) -> CallPart:
        if piece.index < len(self._ids):
            self._arguments[piece.index].append(piece.arguments)
            return CallPart(piece.index, arguments=piece.arguments)
        self._ids.append(self._new_id())
        self._names.append(piece.name)
        self._arguments.append([piece.arguments])
        return CallPart(piece.index, self._ids[-1], piece.name, piece.arguments)
