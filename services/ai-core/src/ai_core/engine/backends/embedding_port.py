"""The port behind which an inference library turns token ids into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ai_core.engine.tokens import Tokens

Vectors = npt.NDArray[np.float32]
"""Shape (inputs, dimensions), one vector per row."""
Pooling = Literal["mean", "cls", "last"]


class CannotEmbed(Exception):
    """This call failed; the embedder itself goes on. Alone, each of its inputs may succeed."""


@dataclass(frozen=True, slots=True)
class EmbedderCapabilities:
    """What an embedder can do. Asked once, after loading."""

    name: str
    context_length: int
    """Most tokens in one input."""
    rows: int
    """Tokens that a call should have at most; a single longer input is a call of its own."""
    inputs: int
    """Most inputs in one call."""
    dimensions: int
    pooling: Pooling
    vocabulary: int
    matryoshka: bool
    """Whether the first numbers of a vector are a shorter vector of the same meaning."""


class Embedder(Protocol):
    """Computes vectors. Not thread-safe: one thread drives it."""

    def capabilities(self) -> EmbedderCapabilities:
        """Constant after loading."""

    def embed(self, inputs: Sequence[Tokens]) -> Vectors:
        """One vector per input, as the model gives it: finite, not yet of length 1.

        The caller keeps to ``capabilities``; no input is empty.

        Raises:
            CannotEmbed: this call failed.
            Exception: the embedder as a whole is broken; the host lets the process end.
        """

    def set_threads(self, threads: int) -> None:
        """Threads that compute, from the next call on."""

    def close(self) -> None:
        """Give everything back."""
