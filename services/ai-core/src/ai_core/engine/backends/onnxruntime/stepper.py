"""onnxruntime-genai behind the frame's port: one generator, which is cut and fed again."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime_genai as og

from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.one_at_a_time.stepper import StepFailed
from ai_core.engine.tokens import Tokens


class OnnxStepper:
    """Implements :class:`..one_at_a_time.stepper.Stepper`. Its own search is never used: tokens are
    appended, and logits read.

    Args:
        model: ``onnxruntime_genai.Model``.
        context_length: most tokens in the sequence; memory for them may be taken at once.
    """

    def __init__(self, model: Any, context_length: int) -> None:
        self._model = model
        self._context_length = context_length
        self._generator: Any = None
        """Made when it is needed: it takes memory for a whole sequence at once."""

    def rewind(self, length: int) -> int:
        if self._generator is None:
            return 0
        length = min(length, self._generator.token_count())
        try:
            self._generator.rewind_to(length)
        except RuntimeError:
            # Not every kind of model can be cut in the middle.
            self._generator = None
            return 0
        return length

    def feed(self, tokens: Tokens) -> Logits:
        try:
            if self._generator is None:
                self._generator = self._new_generator()
            self._generator.append_tokens(tokens)
            logits = self._generator.get_logits()
        except RuntimeError as error:
            raise StepFailed(f"onnxruntime could not compute a step: {reason_of(error)}") from error
        # The array may be the generator's own memory.
        return np.array(logits[0, -1], dtype=np.float32)

    def select(self, adapter: str) -> None:
        """There are no adapters here: ``Capabilities.missing`` says so."""

    def set_threads(self, threads: int) -> None:
        """onnxruntime makes its threads when the model is loaded."""

    def rest(self) -> None:
        self._generator = None

    def close(self) -> None:
        del self._generator, self._model

    def _new_generator(self) -> Any:
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=self._context_length)
        return og.Generator(self._model, params)


def reason_of(error: Exception) -> str:
    """What onnxruntime says, without the places in its sources."""
    text = str(error).strip().partition("\n")[0]
    return text.rpartition("[ONNXRuntimeError] : ")[2][:300]
