"""The benchmark's model once more, as a folder of safetensors: the same shape, random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from ai_core.engine.backends.openvino.gguf_model import read_gguf
from ai_core.engine.backends.openvino.gguf_vocabulary import tokenizer_of
from loadtests.bench.model import CHAT_TEMPLATE, CONTROL_TOKENS, Shape

Halves = npt.NDArray[np.float16]

_MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj")


def ensure(folder: Path, gguf: Path, shape: Shape = Shape()) -> Path:
    """The folder, made now if it is not there; its tokenizer is that of the GGUF file."""
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        save_file(_weights(shape), partial / "model.safetensors", metadata={"format": "pt"})
        _describe(partial, shape)
        tokenizer_of(read_gguf(gguf).metadata, str(gguf)).save(str(partial / "tokenizer.json"))
        partial.rename(folder)
    return folder


def _weights(shape: Shape) -> dict[str, Halves]:
    random = np.random.default_rng(7)
    kv_width = shape.kv_heads * shape.head_width

    def matrix(rows: int, columns: int) -> Halves:
        drawn = random.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)
        halves: Halves = drawn.astype(np.float16)
        return halves

    found = {"model.embed_tokens.weight": matrix(shape.vocabulary, shape.width)}
    ones = np.ones(shape.width, dtype=np.float16)
    for layer in range(shape.layers):
        block = f"model.layers.{layer}"
        for name, rows in zip(_MATRICES, (shape.width, kv_width, kv_width, shape.width), strict=True):
            found[f"{block}.self_attn.{name}.weight"] = matrix(rows, shape.width)
            if name != "o_proj":
                found[f"{block}.self_attn.{name}.bias"] = np.zeros(rows, dtype=np.float16)
        for name in ("gate_proj", "up_proj"):
            found[f"{block}.mlp.{name}.weight"] = matrix(shape.ffn, shape.width)
        found[f"{block}.mlp.down_proj.weight"] = matrix(shape.width, shape.ffn)
        found[f"{block}.input_layernorm.weight"] = ones
        found[f"{block}.post_attention_layernorm.weight"] = ones.copy()
    found["model.norm.weight"] = ones.copy()
    return found


def _describe(folder: Path, shape: Shape) -> None:
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "rope_theta": 1_000_000.0,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "dtype": "float16",
        "eos_token_id": shape.vocabulary - 1,
    }
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": CONTROL_TOKENS[-1],
        "chat_template": CHAT_TEMPLATE,
    }
    for name, content in (("config", config), ("tokenizer_config", tokenizer)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
