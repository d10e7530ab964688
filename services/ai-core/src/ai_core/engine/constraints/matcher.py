"""Where one answer stands in its grammar."""

from __future__ import annotations

import itertools

import numpy as np
from llguidance import LLMatcher

from ai_core.engine.backends.port import ConstraintFailed
from ai_core.engine.constraints.compiling import one_line
from ai_core.engine.tokens import Tokens


class Matcher:
    """Implements :class:`ai_core.engine.backends.port.Constraint`.

    Args:
        compiled: at the beginning of its grammar.
        vocabulary: how many tokens there are.
    """

    def __init__(self, compiled: LLMatcher, vocabulary: int) -> None:
        self._compiled = compiled
        self._vocabulary = vocabulary

    def take(self, token: int) -> bool:
        taken = self._compiled.try_consume_tokens([token]) == 1
        self._refuse_error(self._compiled)
        return taken

    def allowed(self) -> Tokens | None:
        # A mask that becomes too expensive leaves its parser useless, so a copy is asked (5 µs).
        copy = self._compiled.deep_copy()
        mask = copy.compute_bitmask()
        if copy.is_error():
            return None
        bits = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), bitorder="little")
        return np.flatnonzero(bits[: self._vocabulary]).astype(np.int32)

    def among(self, tokens: Tokens, most: int) -> Tokens:
        validate = self._compiled.validate_tokens
        good = (token for token in tokens.tolist() if validate([token]) == 1)
        found = list(itertools.islice(good, most))
        self._refuse_error(self._compiled)
        return np.asarray(found, dtype=np.int32)

    @property
    def complete(self) -> bool:
        return bool(self._compiled.is_stopped())

    @staticmethod
    def _refuse_error(compiled: LLMatcher) -> None:
        if compiled.is_error():
            raise ConstraintFailed(one_line(compiled.get_error()))
