"""Arrays of token ids."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]
"""A one-dimensional array of token ids."""


def common_prefix(a: Tokens, b: Tokens) -> int:
    """How many leading tokens two arrays have in common. About 3 µs for 4,000 tokens."""
    length = min(len(a), len(b))
    if length == 0:
        return 0
    differs = a[:length] != b[:length]
    first = int(differs.argmax())
    return first if differs[first] else length
