"""transformers behind the frame's port: one sequence, with its keys and values in a cache that grows."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.one_at_a_time.stepper import StepFailed
from ai_core.engine.backends.transformers.adapters import PeftAdapters
from ai_core.engine.tokens import Tokens


class TorchStepper:
    """Implements :class:`..one_at_a_time.stepper.Stepper`.

    Args:
        model: in evaluation mode.
        adapters: of this model.
    """

    def __init__(self, model: PreTrainedModel, adapters: PeftAdapters) -> None:
        self._model = model
        self._adapters = adapters
        self._cache = self._empty_cache()
        self._length = 0
        self._threads = torch.get_num_threads()
        # All but the last row of logits would be thrown away, and cost as much as a layer.
        takes = inspect.signature(model.forward).parameters
        self._options: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    @property
    def can_be_cut(self) -> bool:
        """Whether keys and values of the last tokens can be dropped: sliding windows and recurrent states
        have forgotten what was before them."""
        return all(type(layer) is DynamicLayer for layer in self._cache.layers)

    def rewind(self, length: int) -> int:
        length = min(length, self._length)
        if length and self.can_be_cut:
            self._cache.crop(length - self._length)
        else:
            length = 0
            self._cache = self._empty_cache()
        self._length = length
        return length

    def feed(self, tokens: Tokens) -> Logits:
        ids = torch.from_numpy(tokens.astype(np.int64))[None].to(self._model.device)
        try:
            with torch.inference_mode():
                output = self._model(
                    input_ids=ids, past_key_values=self._cache, use_cache=True, **self._options
                )
                logits: Logits = output.logits[0, -1].float().cpu().numpy()
        except (RuntimeError, IndexError, NotImplementedError) as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise StepFailed(f"torch could not compute a step: {reason}") from error
        self._length += len(tokens)
        return logits

    def select(self, adapter: str) -> None:
        self._adapters.select(adapter)

    def set_threads(self, threads: int) -> None:
        if threads != self._threads:
            self._threads = threads
            torch.set_num_threads(threads)

    def rest(self) -> None:
        self.rewind(0)

    def close(self) -> None:
        del self._cache, self._model

    def _empty_cache(self) -> DynamicCache:
        return DynamicCache(config=self._model.config)
