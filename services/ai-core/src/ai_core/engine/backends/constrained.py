"""Choosing a token where a grammar has a say: the chosen one is looked at first, and the vocabulary is
searched only when it is refused. Both together draw as if all that is forbidden had no chance at all.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.port import Constraint, ConstraintFailed
from ai_core.engine.tokens import Tokens

LIKELIEST_TRIED = 512
"""Where the grammar cannot name all that it allows in reasonable time, that means: there is much."""
LIKELIEST_DRAWN = 64
"""Of these, so many that are allowed are enough to draw from."""


class Draws(Protocol):
    """Chooses tokens of one sequence by chance."""

    def draw(self, logits: Logits, among: Tokens | None = None) -> int:
        """A token that may still be refused; of ``among``, or of all."""

    def accept(self, token: int) -> None:
        """This token was taken: penalties remember it."""


def choose(constraint: Constraint, sampler: Draws | None, logits: Logits, likeliest: int) -> int:
    """The next token of a sequence; its constraint and its sampler have gone on by it.

    Args:
        constraint: what the answer has to look like.
        sampler: None: the likeliest token is wanted.
        logits: of this sequence.
        likeliest: the token with the largest of them.

    Raises:
        ConstraintFailed: the grammar cannot be followed any further.
    """
    token = likeliest if sampler is None else sampler.draw(logits)
    if not constraint.take(token):
        token = _among(_allowed(constraint, logits, greedy=sampler is None), sampler, logits)
        if not constraint.take(token):
            raise ConstraintFailed("the grammar contradicts itself")
    if sampler is not None:
        sampler.accept(token)
    return token


def _allowed(constraint: Constraint, logits: Logits, *, greedy: bool) -> Tokens:
    tokens = constraint.allowed()
    if tokens is None:
        count = min(LIKELIEST_TRIED, len(logits))
        tokens = np.argpartition(logits, -count)[-count:].astype(np.int32)
        likeliest_first = tokens[np.argsort(-logits[tokens], kind="stable")]
        tokens = constraint.among(likeliest_first, 1 if greedy else LIKELIEST_DRAWN)
    if not len(tokens):
        raise ConstraintFailed("no token of this model continues the answer as its grammar wants it")
    return tokens


def _among(tokens: Tokens, sampler: Draws | None, logits: Logits) -> int:
    if sampler is None:
        return int(tokens[logits[tokens].argmax()])
    return sampler.draw(logits, tokens)
