"""A request for embeddings on its way: which inputs are computed next, and what is there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ai_core.engine.backends.embedding_port import Vectors
from ai_core.engine.tokens import Tokens


class Work:
    """The inputs of one request, computed in slices in their own order.

    Args:
        inputs: token ids, none of them empty.
        dimensions: length of the vectors that the caller gets.
    """

    def __init__(self, inputs: Sequence[Tokens], dimensions: int) -> None:
        self.tokens = sum(map(len, inputs))
        self._inputs = inputs
        self._vectors = np.empty((len(inputs), dimensions), np.float32)
        self._done = 0

    @property
    def complete(self) -> bool:
        """Every vector is there."""
        return self._done == len(self._inputs)

    def next_inputs(self, room: Room) -> Sequence[Tokens]:
        """The next inputs that fit; none, if not even the first does. An untouched room takes one
        input of any length."""
        end, rows = self._done, 0
        while end < len(self._inputs) and room.fits(rows + len(self._inputs[end]), end + 1 - self._done):
            rows += len(self._inputs[end])
            end += 1
        return self._inputs[self._done : end]

    def add(self, vectors: Vectors) -> None:
        """The vectors of what :meth:`next_inputs` gave, as the model computed them."""
        end = self._done + len(vectors)
        self._vectors[self._done : end] = unit_length(vectors[:, : self._vectors.shape[1]])
        self._done = end

    def result(self) -> bytes:
        """All vectors, one after the other, as 32-bit floats."""
        return self._vectors.tobytes()


@dataclass(slots=True)
class Room:
    """What one call still takes."""

    rows: int
    inputs: int
    untouched: bool = True

    def fits(self, rows: int, inputs: int) -> bool:
        """Whether inputs of so many tokens together still go into this call."""
        alone = self.untouched and inputs == 1
        return inputs <= self.inputs and (rows <= self.rows or alone)

    def take(self, inputs: Sequence[Tokens]) -> None:
        """Note what goes in."""
        self.rows -= sum(map(len, inputs))
        self.inputs -= len(inputs)
        self.untouched = self.untouched and not inputs


def unit_length(vectors: Vectors) -> Vectors:
    """Each vector divided by its length, as OpenAI's are; a vector of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=unit, where=lengths > 0)
    return unit
