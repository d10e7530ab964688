"""The benchmark's model: a real shape with random weights.

Random weights cost exactly as much time per token as trained ones, need no download and no
licence. The shape is that of a current half-billion-parameter model (Qwen2.5-0.5B's), Q8_0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import gguf

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder of the Qwen2 kind."""

    layers: int = 24
    width: int = 896
    heads: int = 14
    kv_heads: int = 2
    ffn: int = 4864
    vocabulary: int = 151_936
    context: int = 8_192

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def ensure(path: Path, shape: Shape = Shape()) -> Path:
    """The model at ``path``, made now if it is not there. A half-written file never takes its name."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        print(f"making the benchmark model {path} (about a minute, once)", flush=True)
        _write(partial, shape)
        partial.rename(path)
    return path


def _write(path: Path, shape: Shape) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "qwen2")
    _add_metadata(writer, shape)
    _add_vocabulary(writer, shape.vocabulary)
    random = np.random.default_rng(7)
    for name, rows, columns in _matrices(shape):
        weights = (random.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(columns)).astype(
            np.float32
        )
        writer.add_tensor(
            name,
            gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0),
            raw_dtype=gguf.GGMLQuantizationType.Q8_0,
        )
    for name, width in _vectors(shape):
        fill = 0.0 if name.endswith("bias") else 1.0
        writer.add_tensor(name, np.full(width, fill, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    import gguf

    writer.add_name("neo-bench-0.5b (random weights)")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """A byte-level BPE vocabulary of the wanted size: bytes, then pairs and triples of letters.

    Sampling and token handling cost what they cost with a vocabulary of a real model's size.
    """
    import gguf

    alphabet = _byte_alphabet()
    merges = list(islice(_merges(alphabet), size - len(alphabet) - len(CONTROL_TOKENS)))
    tokens = [*alphabet, *(left + right for left, right in merges), *CONTROL_TOKENS]
    kinds = [gguf.TokenType.NORMAL] * (size - len(CONTROL_TOKENS)) + [gguf.TokenType.CONTROL] * len(
        CONTROL_TOKENS
    )
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{left} {right}" for left, right in merges])
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)


def _merges(alphabet: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs first, triples after: every token on the right is one symbol, so no merge makes a token twice."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + ["\u0120"]
    rest = [symbol for symbol in alphabet if symbol not in letters]
    ordered = letters + rest
    pairs = list(product(ordered, ordered))
    yield from pairs
    for left, right in pairs:
        for symbol in letters:
            yield left + right, symbol


def _byte_alphabet() -> list[str]:
    """The 256 printable characters that stand for bytes in byte-level BPE (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [table[byte] for byte in range(256)]


def _matrices(shape: Shape) -> Iterator[tuple[str, int, int]]:
    kv_width = shape.kv_heads * shape.head_width
    yield "token_embd.weight", shape.vocabulary, shape.width
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        yield f"{block}.attn_q.weight", shape.width, shape.width
        yield f"{block}.attn_k.weight", kv_width, shape.width
        yield f"{block}.attn_v.weight", kv_width, shape.width
        yield f"{block}.attn_output.weight", shape.width, shape.width
        yield f"{block}.ffn_gate.weight", shape.ffn, shape.width
        yield f"{block}.ffn_up.weight", shape.ffn, shape.width
        yield f"{block}.ffn_down.weight", shape.width, shape.ffn


def _vectors(shape: Shape) -> Iterator[tuple[str, int]]:
    kv_width = shape.kv_heads * shape.head_width
    yield "output_norm.weight", shape.width
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", shape.width
        yield f"{block}.ffn_norm.weight", shape.width
        yield f"{block}.attn_q.bias", shape.width
        yield f"{block}.attn_k.bias", kv_width
        yield f"{block}.attn_v.bias", kv_width
