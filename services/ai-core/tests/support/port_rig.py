"""Drives a backend through its port, as the host does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ai_core.engine.backends.loading import Loaded
from ai_core.engine.backends.port import Backend, Chances, Sequence, StepResult, Tokens, Vocabulary
from ai_core.engine.messages import Sampling

GREEDY = Sampling(temperature=0)
MOST_IDLE_STEPS = 200


@dataclass
class PortRig:
    """A backend, and what came out of it by sequence."""

    backend: Backend
    vocabulary: Vocabulary
    said: dict[int, list[int]] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    chances: dict[int, list[Chances]] = field(default_factory=dict)
    cached: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, loaded: Loaded) -> PortRig:
        return cls(loaded.backend, loaded.vocabulary)

    def prompt(self, question: str, system: str = "") -> Tokens:
        """A conversation in the demo model's template."""
        turns = [("system", system)] if system else []
        turns += [("user", question)]
        text = "".join(f"<|im_start|>{role}\n{said}<|im_end|>\n" for role, said in turns)
        return self.tokens(text + "<|im_start|>assistant\n")

    def tokens(self, text: str) -> Tokens:
        return np.asarray(self.vocabulary.encode(text, add_bos=True, parse_special=True), dtype=np.int32)

    def text(self, id_: int) -> str:
        return b"".join(self.vocabulary.piece(token) for token in self.said[id_]).decode(errors="replace")

    def submit(
        self, id_: int, prompt: Tokens, sampling: Sampling = GREEDY, limit: int = 64, **more: Any
    ) -> None:
        assert self.backend.stats().free_sequences > 0
        self.said[id_], self.chances[id_] = [], []
        self.cached[id_] = self.backend.submit(Sequence(id_, prompt, sampling, limit, **more))

    def step(self) -> StepResult:
        result = self.backend.step()
        for id_, token in result.tokens:
            self.said[id_].append(token)
        for id_, chances in result.chances.items():
            self.chances[id_].append(chances)
        self.ended.update(result.finished)
        self.failed.update(result.failed)
        self.lost.update(result.lost_grammar)
        return result

    def finish(self) -> None:
        """Step until nobody is left."""
        idle = 0
        while self.backend.capabilities().max_sequences > self.backend.stats().free_sequences:
            result = self.step()
            idle = 0 if result.tokens or result.finished or result.prefix_ready else idle + 1
            assert idle < MOST_IDLE_STEPS, f"nothing progresses: {self.backend.stats()}"

    def answer(self, prompt: Tokens, sampling: Sampling = GREEDY, limit: int = 64, **more: Any) -> list[int]:
        """The answer to one prompt with nobody beside it."""
        self.submit(0, prompt, sampling, limit, **more)
        self.finish()
        return self.said[0]
