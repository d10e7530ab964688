"""An answer without what the operator forbids: its text, its reasoning and its calls. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from msgspec import structs

from ai_core.engine.messages import CallPiece, Delta, Finished
from ai_core.inference.content_filter.rules import Rules
from ai_core.inference.content_filter.stream import FilteredStream

_Part = tuple[str, int]
_REASONING: _Part = ("reasoning", 0)
_TEXT: _Part = ("text", 0)
Event = TypeVar("Event", Delta, Finished)


@dataclass(slots=True)
class _Shown:
    reasoning: str = ""
    text: str = ""
    calls: list[CallPiece] = field(default_factory=list)

    def add(self, part: _Part, text: str, name: str = "") -> None:
        kind, index = part
        if kind == "reasoning":
            self.reasoning += text
        elif kind == "text":
            self.text += text
        elif text or name:
            self.calls.append(CallPiece(index, name, text))


class AnswerFilter:
    """Takes the events of one answer and gives what may be shown of each.

    The parts of an answer (reasoning, text, each call's arguments as they are written) come one after
    the other, and each is a text of its own: what is held back of one comes out when the next begins.
    """

    def __init__(self, rules: Rules, prompt_tokens: int) -> None:
        self._rules = rules
        self._prompt_tokens = prompt_tokens
        self._tokens = 0
        self._part = _TEXT
        self._stream = FilteredStream(rules)

    @property
    def matched(self) -> bool:
        """Something was found: the answer is over."""
        return self._stream.matched

    def delta(self, delta: Delta) -> Delta | Finished:
        """What may be shown by now; where something was found, the end."""
        self._tokens += delta.tokens
        shown = self._read(delta)
        return self._end(shown) if self.matched else _with(delta, shown)

    def finished(self, finished: Finished) -> Finished:
        """The end, with all that was still held back."""
        shown = self._read(finished)
        self._close(shown)
        end = _with(finished, shown)
        return structs.replace(end, reason="content_filter") if self.matched else end

    def _read(self, event: Delta | Finished) -> _Shown:
        shown = _Shown()
        self._take(_REASONING, event.reasoning, shown)
        self._take(_TEXT, event.text, shown)
        for call in event.calls:
            self._take(("call", call.index), call.arguments, shown, call.name)
        return shown

    def _take(self, part: _Part, text: str, shown: _Shown, name: str = "") -> None:
        if not text and not name:
            return
        if part != self._part:
            self._close(shown)
        if not self.matched:
            if part != self._part:
                self._part, self._stream = part, FilteredStream(self._rules)
            shown.add(part, self._stream.push(text), name)

    def _close(self, shown: _Shown) -> None:
        shown.add(self._part, self._stream.finish())

    def _end(self, shown: _Shown) -> Finished:
        return Finished(
            0,
            "content_filter",
            shown.text,
            self._prompt_tokens,
            self._tokens,
            0,
            0.0,
            0.0,
            reasoning=shown.reasoning,
            calls=shown.calls,
        )


def _with(event: Event, shown: _Shown) -> Event:
    return structs.replace(event, reasoning=shown.reasoning, text=shown.text, calls=shown.calls)
