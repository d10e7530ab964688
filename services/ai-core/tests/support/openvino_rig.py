"""OpenVINO's backend with a model in memory, and what came out of it."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from llguidance import LLTokenizer

from ai_core.engine.backends.openvino.backend import OpenVinoBackend
from ai_core.engine.backends.openvino.load import load
from ai_core.engine.backends.port import Chances, Sequence, StepResult, Tokens, Vocabulary
from ai_core.engine.constraints.compiling import byte_tokenizer, compile_grammar, tokenizer_for
from ai_core.engine.constraints.judging import judge
from ai_core.engine.constraints.matcher import Matcher
from ai_core.engine.messages import EngineConfig, Grammar, Sampling

GREEDY = Sampling(temperature=0)
_BYTES = byte_tokenizer()


def open_backend(model: Path, kept: Path, **config: Any) -> Rig:
    """Load a model as the engine process does, in F32 so that outputs can be compared."""
    wanted: dict[str, Any] = {"threads": 1, "precision": "f32", "max_sequences": 8, **config}
    loaded = load(
        EngineConfig(backend="openvino", model_path=str(model), converted_models=str(kept), **wanted),
        lambda _progress: None,
    )
    assert isinstance(loaded.backend, OpenVinoBackend)
    return Rig(loaded.backend, loaded.vocabulary)


@dataclass
class Rig:
    """A backend and its vocabulary."""

    backend: OpenVinoBackend
    vocabulary: Vocabulary
    said: dict[int, list[int]] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    failed: list[tuple[int, str]] = field(default_factory=list)
    lost: dict[int, str] = field(default_factory=dict)
    chances: dict[int, list[Chances]] = field(default_factory=dict)
    reused: dict[int, int] = field(default_factory=dict)
    _numbers: int = 1_000
    _tokenizer: LLTokenizer | None = None

    def prompt(self, question: str, system: str = "") -> Tokens:
        """A conversation's beginning in token ids."""
        turns = [("system", system)] if system else []
        text = "".join(
            f"<|im_start|>{role}\n{said}<|im_end|>\n" for role, said in [*turns, ("user", question)]
        )
        text += "<|im_start|>assistant\n"
        return np.asarray(self.vocabulary.encode(text, add_bos=True, parse_special=True), dtype=np.int32)

    def follow(self, grammar: Grammar) -> Matcher:
        """A grammar, compiled for this vocabulary."""
        size = self.backend.capabilities().vocabulary
        if self._tokenizer is None:
            self._tokenizer = tokenizer_for(self.vocabulary, size)
        return Matcher(compile_grammar(self._tokenizer, judge(_BYTES, grammar)), size)

    def submit(
        self, id_: int, prompt: Tokens, sampling: Sampling = GREEDY, *, limit: int = 100, **more: Any
    ) -> int:
        self.said[id_], self.chances[id_] = [], []
        self.ended.pop(id_, None)
        self.lost.pop(id_, None)
        self.reused.pop(id_, None)
        return self.backend.submit(Sequence(id_, prompt, sampling, limit, **more))

    def step(self) -> StepResult:
        result = self.backend.step()
        for id_, token in result.tokens:
            self.said[id_].append(token)
        for id_, chances in result.chances.items():
            self.chances[id_].append(chances)
        self.ended.update(result.finished)
        self.failed += result.failed
        self.lost.update(result.lost_grammar)
        self.reused.update(result.reused)
        return result

    def finish(self) -> None:
        """Step until nobody is left. Fails when nothing happens any more."""
        idle = 0
        while self.backend.stats().running:
            result = self.step()
            idle = 0 if result.tokens or result.finished or result.prefix_ready else idle + 1
            assert idle < 50, f"nothing progresses: {self.backend.stats()}"

    def say(self, prompt: Tokens, sampling: Sampling = GREEDY, **more: Any) -> list[int]:
        """The answer to one prompt, computed with nobody beside it."""
        self._numbers += 1
        self.submit(self._numbers, prompt, sampling, **more)
        self.finish()
        return self.said[self._numbers]

    def text(self, tokens: Many[int]) -> str:
        return b"".join(self.vocabulary.piece(token) for token in tokens).decode(errors="replace")
