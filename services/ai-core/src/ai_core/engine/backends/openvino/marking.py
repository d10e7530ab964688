"""Token ids that carry a namespace, so that OpenVINO's cache shares prefixes only within one.

The pipeline finds cached blocks by the ids of their tokens and all tokens before them, and it takes any
number for an id. So the first tokens of a prompt say in their upper bits to which namespace the prompt
belongs; the graph takes these bits away before it looks up an embedding (``graph.prepare``).
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from ai_core.engine.tokens import Tokens

MARKED = 4
"""Tokens at the beginning of a prompt that are marked: all lie in its first block, which every later block
of it depends on."""
_ID_BITS = 31
"""The CPU computes with 32-bit integers, and ids are not negative."""

InputIds = npt.NDArray[np.int64]


def id_bits(vocabulary: int) -> int:
    """Bits that the ids of a vocabulary need."""
    return (vocabulary - 1).bit_length()


def marked(prompt: Tokens, namespace: str, vocabulary: int) -> InputIds:
    """A prompt as the pipeline gets it: one row of ids.

    Two namespaces differ with a probability of all but 2^-52 for a vocabulary of 150,000 tokens; of a prompt
    with fewer than four tokens, only as many marks as it has tokens tell.
    """
    bits = id_bits(vocabulary)
    ids = prompt.astype(np.int64)
    if namespace:
        digest = int.from_bytes(blake2b(namespace.encode(), digest_size=16).digest(), "big")
        for place in range(min(MARKED, len(ids))):
            digest, mark = divmod(digest, 1 << (_ID_BITS - bits))
            ids[place] |= mark << bits
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
