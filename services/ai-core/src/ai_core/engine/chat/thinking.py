"""What a model thinks before it answers, apart from what it answers.

Models that think write their thoughts first, between two tags that their chat template knows; some
templates write the opening tag themselves, at the end of the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Tags:
    """The texts before and behind thoughts."""

    opening: str
    closing: str

    def left_open(self, prompt: str) -> bool:
        """Whether a prompt ends inside thoughts: the answer begins with them."""
        return prompt.rstrip().endswith(self.opening)


KNOWN_TAGS = (
    Tags("<think>", "</think>"),
    Tags("[THINK]", "[/THINK]"),
    Tags("<thinking>", "</thinking>"),
    Tags("<reasoning>", "</reasoning>"),
    Tags("<thought>", "</thought>"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""Those of Qwen 3, DeepSeek, Magistral, Granite and their kin."""


def tags_in(template: str) -> Tags | None:
    """The tags that a chat template's source writes or looks for."""
    return next((tags for tags in KNOWN_TAGS if tags.closing in template), None)


class Split(NamedTuple):
    """What can be told apart now; both may be empty."""

    reasoning: str
    text: str


class _Place(Enum):
    BEGINNING = auto()
    THOUGHTS = auto()
    BEHIND = auto()
    TEXT = auto()


class ThinkingSplitter:
    """Splits one answer, as it comes.

    Only thoughts at the beginning are thoughts: a tag later on is text, because somebody may ask about
    tags. White space around the tags belongs to neither side. Thoughts that never end are all thoughts.

    Args:
        inside: the prompt has opened the thoughts already. A second opening tag is skipped.
    """

    def __init__(self, tags: Tags, *, inside: bool) -> None:
        self._tags = tags
        self._opened = inside
        self._place = _Place.BEGINNING
        self._held = ""
        self._thought = False

    @property
    def thinking(self) -> bool:
        """Whether what was read last belongs to thoughts."""
        return self._place is _Place.THOUGHTS or (self._opened and self._place is _Place.BEGINNING)

    def push(self, text: str) -> Split:
        """Read on."""
        if self._place is _Place.TEXT:
            return Split("", text)
        self._held += text
        if self._place is _Place.BEGINNING:
            self._begin()
        reasoning = self._think() if self._place is _Place.THOUGHTS else ""
        if self._place is _Place.BEHIND:
            self._held = self._held.lstrip()
            if self._held:
                self._place = _Place.TEXT
        return Split(reasoning, self._take_held() if self._place is _Place.TEXT else "")

    def finish(self) -> Split:
        """The answer is over: what was held back."""
        rest = self._take_held()
        if self.thinking:
            return Split(rest.rstrip() if self._thought else rest.strip(), "")
        return Split("", "" if self._place is _Place.BEHIND else rest)

    def _begin(self) -> None:
        begun = self._held.lstrip()
        opening = self._tags.opening
        if begun.startswith(opening):
            self._held = begun.removeprefix(opening)
            self._place = _Place.THOUGHTS
        elif not opening.startswith(begun):
            self._place = _Place.THOUGHTS if self._opened else _Place.TEXT

    def _think(self) -> str:
        if not self._thought:
            self._held = self._held.lstrip()
        thoughts, closing, behind = self._held.partition(self._tags.closing)
        if closing:
            self._held = behind
            self._place = _Place.BEHIND
            return thoughts.rstrip()
        border = len(thoughts.removesuffix(self._partial_closing()).rstrip())
        self._held = thoughts[border:]
        self._thought = self._thought or border > 0
        return thoughts[:border]

    def _partial_closing(self) -> str:
        """What the held text ends with, if that may become the closing tag."""
        closing = self._tags.closing
        lengths = range(min(len(closing) - 1, len(self._held)), 0, -1)
        return next((closing[:length] for length in lengths if self._held.endswith(closing[:length])), "")

    def _take_held(self) -> str:
        held, self._held = self._held, ""
        return held
