"""Formatted text, before anybody counts in UTF-16."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Of an entity, by Telegram's names (https://core.telegram.org/bots/api#messageentity)."""

    BOLD = "bold"
    ITALIC = "italic"
    STRIKETHROUGH = "strikethrough"
    QUOTE = "blockquote"
    LINK = "text_link"
    CODE = "code"
    PRE = "pre"


VERBATIM = (Kind.CODE, Kind.PRE)
"""Contain nothing else, and are part of no bold, italic or struck out text."""


@dataclass(frozen=True, slots=True, order=True)
class Style:
    """How a piece of text is shown."""

    kind: Kind
    argument: str = ""
    """A link's address, or the language of a block of code."""


@dataclass(frozen=True, slots=True)
class Run:
    """Text of one look; outer styles first."""

    text: str
    styles: tuple[Style, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, an item of a list, a block of code.

    Attributes:
        gap: what stands between it and the block before it, where both are in one message.
    """

    runs: tuple[Run, ...]
    gap: str = "\n\n"

    @property
    def text(self) -> str:
        """Without its formatting."""
        return "".join(run.text for run in self.runs)
