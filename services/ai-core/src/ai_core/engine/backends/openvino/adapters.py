"""LoRA adapters for OpenVINO: PEFT's matrices, applied to those tokens of a batch whose sequence wants them.

OpenVINO GenAI has adapters, too, but sets them for a whole pipeline, which its ``step`` does not even do, and
its cache knows nothing of them. Here a node behind each product (``lora``) adds what the adapters of the
tokens in the batch add, so that sequences with unlike adapters share every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.backends.adapter_shelf import AdapterShelf
from ai_core.engine.backends.llama_cpp.peft_adapter import MATRICES, convert
from ai_core.engine.messages import AdapterFile

Floats = npt.NDArray[np.float32]
Pair = tuple[Floats, Floats]
"""A as [in, rank], and B as [rank, out] with its scale."""

_ORDER = "qwen2"
"""An architecture for which PEFT's rows keep their order, as they do in OpenVINO's graphs."""
_ALPHA = "adapter.lora.alpha"


class OpenVinoAdapters(AdapterShelf[dict[str, Pair]]):
    """Implements ``backends.adapter_port.Adapters``.

    Args:
        shapes: what goes into each of the model's products and comes out, by PEFT's names.
        files: those that can be named from the start; loaded at their first use.
        forget: called when an adapter is gone: nothing that was computed with it may be used again.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, int]],
        files: Iterable[AdapterFile],
        forget: Callable[[], None],
    ) -> None:
        super().__init__(files)
        self._shapes = shapes
        self._forget = forget

    def remove(self, name: str) -> None:
        self._take_out(name)
        self._forget()

    def pair(self, name: str, linear: str) -> Pair | None:
        """What an adapter adds to one product; None: nothing."""
        return self._loaded[name].get(linear)

    def _read(self, path: Path, scale: float) -> dict[str, Pair]:
        if path.is_file():
            raise BadAdapter("OpenVINO takes PEFT's folder of an adapter, and this is a file")
        converted = convert(path, _ORDER, heads=1, kv_heads=1)
        alpha = float(converted.metadata[_ALPHA])
        pairs: dict[str, Pair] = {}
        for linear, stem in _names(self._shapes):
            a = converted.tensors.pop(f"{stem}.weight.lora_a", None)
            b = converted.tensors.pop(f"{stem}.weight.lora_b", None)
            if a is None or b is None:
                continue
            shape = (a.shape[1], b.shape[0])
            if shape != self._shapes[linear]:
                raise BadAdapter(f"its matrices for {linear} are {shape}, the model's {self._shapes[linear]}")
            factor = np.float32(alpha / len(a) * scale)
            pairs[linear] = (np.ascontiguousarray(a.T), np.ascontiguousarray(b.T * factor))
        if converted.tensors:
            raise BadAdapter(f"this model has nothing like its '{min(converted.tensors)[:80]}'")
        return pairs


def _names(linears: Iterable[str]) -> Iterable[tuple[str, str]]:
    """PEFT's name and llama.cpp's, of each product."""
    for linear in linears:
        _, number, part = linear.split(".", 2)
        yield linear, f"blk.{number}.{MATRICES[part]}"
