"""LoRA adapters for tests: of random numbers, in PEFT's form and in llama.cpp's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from ai_core_service import ROOT

LETTERS = ROOT / "models/neo-demo/adapters/lettre"
"""The demo model's own adapter as PEFT's folder: French answers become formal letters."""
LETTERS_GGUF = LETTERS.with_suffix(".gguf")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layout:
    """The sizes of a decoder that an adapter is made for; those of the demo model unless told otherwise."""

    layers: int = 4
    width: int = 256
    queries: int = 256
    keys: int = 128
    feed_forward: int = 768

    def matrices(self) -> dict[str, tuple[int, int]]:
        """By PEFT's name: rows and columns."""
        each = {
            "self_attn.q_proj": (self.queries, self.width),
            "self_attn.k_proj": (self.keys, self.width),
            "self_attn.v_proj": (self.keys, self.width),
            "self_attn.o_proj": (self.width, self.queries),
            "mlp.gate_proj": (self.feed_forward, self.width),
            "mlp.up_proj": (self.feed_forward, self.width),
            "mlp.down_proj": (self.width, self.feed_forward),
        }
        layers = range(self.layers)
        return {f"model.layers.{n}.{name}": shape for n in layers for name, shape in each.items()}


def write_random_adapter(
    folder: Path,
    seed: int,
    *,
    strength: float = 0.02,
    rank: int = 4,
    layout: Layout = Layout(),
    **config: Any,
) -> Path:
    """PEFT's folder with random matrices; ``strength`` is about what they add to each weight."""
    chance = np.random.default_rng(seed)
    tensors: dict[str, Floats] = {}
    for module, (rows, columns) in layout.matrices().items():
        a, b = chance.standard_normal((rank, columns)), chance.standard_normal((rows, rank))
        tensors[f"base_model.model.{module}.lora_A.weight"] = a.astype(np.float32)
        tensors[f"base_model.model.{module}.lora_B.weight"] = (b * strength / rank).astype(np.float32)
    return write_peft(folder, tensors, r=rank, lora_alpha=rank, **config)


def write_peft(folder: Path, tensors: Mapping[str, Floats], **config: Any) -> Path:
    """PEFT's folder with these matrices and this configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    modules = sorted({name.split(".")[-3] for name in tensors})
    usual = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "target_modules": modules, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(usual | config))
    return folder


def write_gguf_adapter(
    path: Path,
    matrices: Mapping[str, Floats],
    *,
    architecture: str = "qwen3",
    kind: str = "adapter",
    alpha: float = 4.0,
    a_type: str = "F32",
) -> Path:
    """A GGUF file with these tensors, as llama.cpp's own converter would name them; ``a_type``: of those
    that come first in a product."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(kind)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, matrix in matrices.items():
        stored = gguf.GGMLQuantizationType[a_type if name.endswith("lora_a") else "F32"]
        writer.add_tensor(name, gguf.quants.quantize(matrix, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
