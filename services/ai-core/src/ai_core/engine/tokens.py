"""Comparing token sequences."""

from __future__ import annotations

import numpy as np

from ai_core.engine.backends.port import Tokens

_PROBE = 64
"""Tokens compared first: most pairs differ early."""


def common_prefix(first: Tokens, second: Tokens) -> int:
    """How many leading tokens two sequences have in common."""
    length = min(len(first), len(second))
    probe = min(_PROBE, length)
    differ = first[:probe] != second[:probe]
    if differ.any():
        return int(differ.argmax())
    differ = first[probe:length] != second[probe:length]
    return probe + int(differ.argmax()) if differ.any() else length
