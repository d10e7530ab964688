"""The answer to a chat, as it comes: bytes of tokens become thoughts, text and calls.

The other half of :mod:`.template`: what a template teaches its model to write is read here.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ai_core.engine.chat.call_forms import CallForm
from ai_core.engine.chat.calls import CallParser, Segment
from ai_core.engine.chat.thinking import Tags, ThinkingSplitter
from ai_core.engine.messages import CallPiece
from ai_core.engine.text import TextAssembler


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """What the answer to one request may consist of, beside text."""

    thinking: Tags | None = None
    inside: bool = False
    """The prompt has opened the thoughts."""
    calls: CallForm | None = None
    """None: calls are not looked for."""
    names: frozenset[str] = frozenset()
    """The functions that there are."""
    most_calls: int | None = None
    opening: str = ""
    """The beginning of a call that stands at the end of the prompt."""
    marks: Mapping[int, bytes] = field(default_factory=dict)
    """Control tokens that mean something in an answer, and their texts."""

    @property
    def plain(self) -> bool:
        """There is nothing but text."""
        return self.thinking is None and self.calls is None


class Said(NamedTuple):
    """What has become certain; all may be empty."""

    text: str = ""
    reasoning: str = ""
    calls: Sequence[CallPiece] = ()


class Reply:
    """One answer. Stop strings are looked for in its text: neither in thoughts nor in calls."""

    def __init__(self, form: ReplyForm, stop: Sequence[str] = ()) -> None:
        self.reasoning_tokens = 0
        self._marks = form.marks
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = TextAssembler(stop)
        self._splitter = None
        if form.thinking is not None:
            self._splitter = ThinkingSplitter(form.thinking, inside=form.inside)
        self._parser = None
        if form.calls is not None:
            self._parser = CallParser(form.calls, form.names, form.most_calls)
            self._parser.push(form.opening)

    @property
    def stopped(self) -> bool:
        """Nothing that may follow is a part of the answer: a stop string, or enough calls."""
        return self._stop.stopped or (self._parser is not None and self._parser.satisfied)

    @property
    def has_calls(self) -> bool:
        """At least one call was announced."""
        return self._parser is not None and self._parser.begun > 0

    def push(self, token: int, piece: bytes) -> Said:
        """Add a token and its bytes; returns what is certain now."""
        text = self._decoder.decode(self._marks.get(token, piece))
        if self._splitter is None:
            return self._say("", text)
        was_thinking = self._splitter.thinking
        reasoning, text = self._splitter.push(text)
        self.reasoning_tokens += was_thinking or self._splitter.thinking
        return self._say(reasoning, text)

    def finish(self) -> Said:
        """The answer is over: what was held back and belongs to it."""
        text = self._decoder.decode(b"", final=True)
        reasoning = ""
        if self._splitter is not None:
            split, rest = self._splitter.push(text), self._splitter.finish()
            reasoning, text = split.reasoning + rest.reasoning, split.text + rest.text
        segments = [text] if self._parser is None else [*self._parser.push(text), *self._parser.finish()]
        said = self._sort(reasoning, segments)
        return said if self._stop.stopped else said._replace(text=said.text + self._stop.finish())

    def _say(self, reasoning: str, text: str) -> Said:
        return self._sort(reasoning, [text] if self._parser is None else self._parser.push(text))

    def _sort(self, reasoning: str, segments: Sequence[Segment]) -> Said:
        text = ""
        calls: list[CallPiece] = []
        for segment in segments:
            if self._stop.stopped:
                break
            if isinstance(segment, str):
                text += self._stop.push(segment.encode())
            elif calls and calls[-1].index == segment.index:
                last = calls[-1]
                calls[-1] = CallPiece(last.index, last.name, last.arguments + segment.arguments)
            else:
                calls.append(segment)
        return Said(text, reasoning, calls)
