"""The next token of one sequence, chosen from its row of logits."""

from __future__ import annotations

import numpy as np

from ai_core.engine.backends.chances import Weighed
from ai_core.engine.backends.constrained import choose
from ai_core.engine.backends.likeliest import likeliest
from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.port import Chances, Sequence
from ai_core.engine.backends.sampling import IMPLIED_TOP_K, Sampler
from ai_core.engine.messages import Sampling
from ai_core.engine.tokens import Tokens

_MUCH = 8
"""A vocabulary of so many times the tokens that matter is worth looking through for them first."""


def is_plain_greedy(sequence: Sequence) -> bool:
    """Whether the likeliest token is all that is asked for, so that OpenVINO may choose by itself."""
    sampling = sequence.sampling
    return (
        sampling.temperature == 0
        and not _adjusts(sampling)
        and not sampling.ignore_eos
        and sequence.constraint is None
        and sequence.chances is None
    )


class Chooser:
    """Chooses the tokens of one sequence, and remembers them for penalties. Implements
    :class:`..constrained.Draws`.

    Args:
        sequence: what is asked for.
        ends: tokens that end an answer.
    """

    def __init__(self, sequence: Sequence, ends: frozenset[int]) -> None:
        sampling = sequence.sampling
        never = ends if sampling.ignore_eos else frozenset[int]()
        self._never = never
        self._constraint = sequence.constraint
        self._chances = sequence.chances
        self._sampler = Sampler(sampling, never)
        self._greedy = sampling.temperature == 0 and not _adjusts(sampling) and not never
        self._most = 1 if sampling.temperature == 0 else _top_k(sampling)
        self._touched = {*sampling.logit_bias, *never}
        """Tokens whose logits are changed before anything is chosen."""
        plain = self._constraint is None and self._chances is None and not _adjusts(sampling)
        self._unending = plain and bool(never) and sampling.temperature == 0
        """The likeliest token, unless it is one that ends."""
        self._remembers = _has_penalties(sampling)

    def leaves_it(self, logits: Logits) -> bool:
        """Whether OpenVINO may choose this time: the likeliest token is wanted and nothing is remembered."""
        return self._unending and int(logits.argmax()) not in self._never

    def choose(self, logits: Logits) -> tuple[int, Chances | None]:
        """The next token, taken, and how likely it was where that is asked for.

        Raises:
            ConstraintFailed: the grammar cannot be followed any further.
        """
        weighed = None if self._chances is None else Weighed(logits, self._chances)
        token = self._token(logits)
        return token, None if weighed is None else weighed.of(token)

    def draw(self, logits: Logits, among: Tokens | None = None) -> int:
        """A token that may still be refused."""
        if among is None and self._most:
            among = self._candidates(logits)
        return self._sampler.draw(logits, among)

    def accept(self, token: int) -> None:
        """This token was taken."""
        self._sampler.accept(token)
        if self._remembers:
            self._touched.add(token)

    def _token(self, logits: Logits) -> int:
        likeliest_one = int(logits.argmax())
        if self._constraint is not None:
            return choose(self._constraint, None if self._greedy else self, logits, likeliest_one)
        if self._greedy:
            return likeliest_one
        token = self.draw(logits)
        self.accept(token)
        return token

    def _candidates(self, logits: Logits) -> Tokens | None:
        """All tokens that can be among the first when biases and penalties have changed some."""
        count = self._most + len(self._touched)
        if count * _MUCH > len(logits):
            return None
        found = likeliest(logits, count)
        if not self._touched:
            return found
        touched = np.fromiter(self._touched, dtype=np.int32, count=len(self._touched))
        return np.union1d(found, touched)


def _top_k(sampling: Sampling) -> int:
    """0: no limit."""
    return sampling.top_k or (IMPLIED_TOP_K if sampling.top_p < 1 else 0)


def _adjusts(sampling: Sampling) -> bool:
    return bool(sampling.logit_bias) or _has_penalties(sampling)


def _has_penalties(sampling: Sampling) -> bool:
    return bool(sampling.repeat_penalty != 1.0 or sampling.frequency_penalty or sampling.presence_penalty)
