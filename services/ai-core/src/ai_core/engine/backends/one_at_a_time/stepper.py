"""What the frame needs of an engine: one sequence that grows, and can be cut."""

from __future__ import annotations

from typing import Protocol

from ai_core.engine.backends.logits import Logits
from ai_core.engine.tokens import Tokens


class StepFailed(Exception):
    """The engine could not compute this; what it holds is not to be trusted any more."""


class Stepper(Protocol):
    """Holds the keys and values of one sequence. Driven by one thread."""

    def rewind(self, length: int) -> int:
        """Keep the first ``length`` tokens of what is held. Returns how many are held from now on: fewer,
        where the engine cannot cut its memory in the middle."""

    def feed(self, tokens: Tokens) -> Logits:
        """Compute at least one token behind those that are held.

        Returns:
            What the model says about the token after the last one; the caller may keep it, and changes
            nothing in it.

        Raises:
            StepFailed: only :meth:`rewind` to 0 may follow.
        """

    def select(self, adapter: str) -> None:
        """The LoRA adapter to compute with from now on; empty: none. Called while nothing is held."""

    def set_threads(self, threads: int) -> None:
        """Threads from the next call on, where the engine can change them."""

    def rest(self) -> None:
        """Hold nothing, and give the memory for it back; :meth:`feed` takes it again."""

    def close(self) -> None:
        """Give everything back."""
