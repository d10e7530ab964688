"""Which turns of a conversation the model reads next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BLOCK_TURNS = 8
"""So many turns go at once: then the beginning of what the model reads stays the same for as many questions,
and the AI core has it in its cache."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer."""

    question: str
    answer: str
    document: str = ""
    """What was sent with the question, as the model reads it (``dialogue.documents``)."""

    @property
    def characters(self) -> int:
        """The length of question and answer."""
        return len(self.question) + len(self.answer)


def block_of(most_turns: int) -> int:
    """How many turns go at once where at most so many are read."""
    return max(1, min(BLOCK_TURNS, most_turns // 2))


def first_of(count: int, most_turns: int) -> int:
    """From which of so many turns on a conversation has to be known for :func:`recent`, which then leaves out
    the same blocks as if it knew all."""
    block = block_of(most_turns)
    return max(0, count - most_turns) // block * block


def recent(turns: Sequence[Turn], *, most_turns: int, most_characters: int) -> Sequence[Turn]:
    """The newest turns, without what no longer fits; whole turns, in blocks counted from the first.

    What is left out only grows, and only by whole blocks, while a conversation goes on.

    Args:
        turns: all of a conversation, oldest first, or those from :func:`first_of` on.
        most_turns: 1 or more.
        most_characters: of all that is returned; 0 returns nothing.
    """
    start, block = 0, block_of(most_turns)
    while len(turns) - start > most_turns or sum(turn.characters for turn in turns[start:]) > most_characters:
        start += block
    return turns[start:]
