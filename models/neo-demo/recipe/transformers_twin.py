"""A GGUF file of ours as a folder that transformers loads: same weights, same tokens, same template.

Tests compare the two. Everything comes from the GGUF file, nothing from the training.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers.models import BPE

from recipe.tokenizer import assemble

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def to_transformers(gguf_path: Path, out_dir: Path) -> None:
    """Writes config, generation config, tokenizer and F32 safetensors into ``out_dir``."""
    reader = gguf.GGUFReader(gguf_path)
    out_dir.mkdir(parents=True, exist_ok=True)
    # Contiguous F32 copies: the reader's tensors are views into the mapped file.
    weights = {
        hugging_face_name(tensor.name): np.array(as_matrix(tensor), dtype=np.float32, order="C")
        for tensor in reader.tensors
    }
    save_file(weights, out_dir / "model.safetensors", metadata={"format": "pt"})
    write_json(out_dir / "config.json", config(reader))
    write_json(out_dir / "generation_config.json", {"do_sample": False, **special_ids(reader)})
    write_tokenizer(reader, out_dir)


def field(reader: gguf.GGUFReader, name: str) -> Any:
    found = reader.get_field(name)
    if found is None:
        raise KeyError(f"the GGUF file has no {name}")
    return found.contents()


def as_matrix(tensor: gguf.ReaderTensor) -> NDArray[Any]:
    # GGUF counts dimensions from the fastest one.
    return tensor.data.reshape(tuple(reversed(tensor.shape.tolist())))


def hugging_face_name(name: str) -> str:
    if name.startswith("blk."):
        _, layer, part, suffix = name.split(".")
        return f"model.layers.{layer}.{LAYER_NAMES[part]}.{suffix}"
    return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]


def special_ids(reader: gguf.GGUFReader) -> dict[str, int]:
    return {
        "eos_token_id": field(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": field(reader, "tokenizer.ggml.padding_token_id"),
    }


def config(reader: gguf.GGUFReader) -> dict[str, Any]:
    def of(name: str) -> Any:
        return field(reader, f"qwen3.{name}")

    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": len(field(reader, "tokenizer.ggml.tokens")),
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "head_dim": of("attention.key_length"),
        "max_position_embeddings": of("context_length"),
        "rms_norm_eps": float(of("attention.layer_norm_rms_epsilon")),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(of("rope.freq_base"))},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "dtype": "float32",
        **special_ids(reader),
    }


def write_tokenizer(reader: gguf.GGUFReader, out_dir: Path) -> None:
    tokens = field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field(reader, "tokenizer.ggml.merges")]
    tokenizer = assemble(BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.save(str(out_dir / "tokenizer.json"))
    ids = special_ids(reader)
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": tokens[ids["eos_token_id"]],
        "pad_token": tokens[ids["pad_token_id"]],
        "model_max_length": field(reader, "qwen3.context_length"),
        "clean_up_tokenization_spaces": False,
        "chat_template": field(reader, "tokenizer.chat_template"),
    }
    write_json(out_dir / "tokenizer_config.json", described)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
