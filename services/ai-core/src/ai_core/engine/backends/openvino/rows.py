"""Whose tokens stand where in a step's batch.

OpenVINO's scheduler decides what a step computes and does not say it. What it feeds to the model does: the
tokens of one sequence stand together, with their positions, and the sequences stand in the order in which
they were submitted, first those that decode, then those whose prompts are read. So a batch can be read back,
and the places of two sequences can be mistaken for each other only where position and token are the same in
both; then the order decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ai_core.engine.tokens import Tokens

Positions = npt.NDArray[np.int64]


class Known(Protocol):
    """A sequence, as far as this module looks at it."""

    @property
    def id(self) -> int:
        """Of the host's."""

    @property
    def known(self) -> int:
        """Tokens of the prompt and of the answer so far."""

    @property
    def next(self) -> int | None:
        """The position that is computed next; None: its first step is still to come."""

    def token(self, position: int) -> int:
        """A known token."""

    def tokens(self, start: int, end: int) -> Tokens:
        """Known tokens [start, end)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring tokens of one sequence in a batch."""

    id: int
    """Of the sequence."""
    start: int
    """The position of the first."""
    end: int
    """Behind the last."""
    sampled: bool
    """Whether it ends with the last known token, so that the next one is chosen from its row."""


class Unreadable(Exception):
    """The batch holds tokens that no sequence has there."""


def read_batch(tokens: Tokens, positions: Positions, sequences: Iterable[Known]) -> list[Segment]:
    """What a batch consists of, in its order.

    Args:
        tokens: all tokens of the batch.
        positions: where each stands in its sequence.
        sequences: all that may take part, in the order in which they were submitted.

    Raises:
        Unreadable: a token belongs to nobody.
    """
    left = list(sequences)
    segments: list[Segment] = []
    place = 0
    while place < len(tokens):
        start = int(positions[place])
        sequence = left.pop(_owner(left, start, int(tokens[place])))
        count = _common(sequence, start, tokens[place:], positions[place:])
        segments.append(Segment(sequence.id, start, start + count, start + count == sequence.known))
        place += count
    return segments


def _owner(sequences: list[Known], position: int, token: int) -> int:
    """Which of the sequences has this token there. Those that decode stand first in a batch, so one of them
    goes before one whose prompt is read; and one that expects the token goes before one that was set back."""
    best, found = len(_RANKS), -1
    for index, sequence in enumerate(sequences):
        if position >= sequence.known or sequence.token(position) != token:
            continue
        rank = _RANKS[sequence.next == position, sequence.known == position + 1]
        if rank < best:
            best, found = rank, index
        if not best:
            break
    if found < 0:
        raise Unreadable(f"no sequence has the token {token} at {position}")
    return found


_RANKS = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}
"""By whether the position is expected, and whether it is the last known one."""


def _common(sequence: Known, start: int, tokens: Tokens, positions: Positions) -> int:
    """How many of the tokens belong to this sequence; the first one does."""
    most = min(sequence.known - start, len(tokens))
    if most == 1:
        return 1
    own = sequence.tokens(start, start + most)
    alike = (own == tokens[:most]) & (positions[:most] == np.arange(start, start + most))
    return most if alike.all() else int(alike.argmin())
