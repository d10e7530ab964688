"""Token ids that carry marks, so that OpenVINO's cache shares what is to be shared and nothing else.

The pipeline finds cached blocks by the ids of their tokens and all tokens before them, and it takes any
number for an id. So the first tokens of a block may say in their upper bits whose it is; the graph takes
these bits away before it looks up an embedding (``graph.prepare``).

The first block that a sequence computes anew gets a mark that no other block has. What follows depends on it:
so sequences share only what is known to be the same (:mod:`.held`), within one namespace, and in whole
blocks. The pipeline would also share a block that is not full, and two sequences that go on differently
within it would then overwrite each other's keys and values.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ai_core.engine.tokens import Tokens

MARKED = 4
"""Tokens at the beginning of a block that are marked."""
_ID_BITS = 31
"""The CPU computes with 32-bit integers, and ids are not negative."""

InputIds = npt.NDArray[np.int64]
Mark = tuple[int, ...]
"""What the upper bits of a block's first tokens say."""


class FreshMarks:
    """Marks that were never used before. They come again after so many that nothing of the first is left:
    2^52 for a vocabulary of 150,000 tokens and four tokens, 8,192 for a single one.

    Args:
        vocabulary: tokens of the model.
    """

    def __init__(self, vocabulary: int) -> None:
        self._most = 1 << (_ID_BITS - id_bits(vocabulary))
        self._numbers = itertools.count(1)

    def mark(self, tokens: int) -> Mark:
        """For a block of which so many tokens are known, one or more."""
        number, mark = next(self._numbers), []
        for _ in range(min(MARKED, tokens)):
            number, digit = divmod(number, self._most)
            mark.append(digit)
        return tuple(mark)


def id_bits(vocabulary: int) -> int:
    """Bits that the ids of a vocabulary need."""
    return (vocabulary - 1).bit_length()


def marked(prompt: Tokens, marks: Mapping[int, Mark], vocabulary: int) -> InputIds:
    """A prompt as the pipeline gets it: one row of ids, with these marks from these tokens on."""
    bits = id_bits(vocabulary)
    ids = prompt.astype(np.int64)
    for start, mark in marks.items():
        ids[start : start + len(mark)] |= np.array(mark, dtype=np.int64) << bits
    return ids[None, :]


def plain(ids: InputIds, vocabulary: int) -> Tokens:
    """The token ids without marks."""
    return (ids & ((1 << id_bits(vocabulary)) - 1)).astype(np.int32)


def cut(ids: InputIds, limit: int, vocabulary: int, *, beyond: bool) -> InputIds:
    """The first ``limit`` tokens of a prompt as the pipeline gets it. With ``beyond``, the next one follows
    with a mark that no prompt has there, so that what is computed of it is never found."""
    if not beyond:
        return ids[:, :limit]
    ids = ids[:, : limit + 1].copy()
    ids[0, limit] |= 1 << id_bits(vocabulary)
    return ids
