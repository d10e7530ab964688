"""The same weights in another GGUF file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from ai_core_service import ROOT

CHAT_TEMPLATE = "tokenizer.chat_template"


def write_f32_twin(source: Path, target: Path, further: Mapping[str, int] | None = None) -> None:
    """Copy a GGUF file with all matrices as F32, and with ``further`` metadata. Values do not change: F16
    is a part of F32."""
    reader = gguf.GGUFReader(source)
    writer = _writer(reader, target, without={"general.file_type"})
    for name, value in (further or {}).items():
        writer.add_uint32(name, value)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.ascontiguousarray(tensor.data, dtype=np.float32))
    _finish(writer)


def write_twin_with_template(source: Path, target: Path, chat_template: str) -> None:
    """Copy a GGUF file and give it another chat template."""
    reader = gguf.GGUFReader(source)
    writer = _writer(reader, target, without={CHAT_TEMPLATE})
    writer.add_string(CHAT_TEMPLATE, chat_template)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.ascontiguousarray(tensor.data), raw_dtype=tensor.tensor_type)
    _finish(writer)


def write_q8_0_twin(source: Path, target: Path, **words: str) -> None:
    """Copy a GGUF file with its matrices in Q8_0, and with other texts in its metadata
    (``tokenizer_ggml_pre="llama-bpe"``)."""
    reader = gguf.GGUFReader(source)
    texts = {name.replace("_", "."): text for name, text in words.items()}
    writer = _writer(reader, target, without={"general.file_type", *texts})
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    for name, text in texts.items():
        writer.add_string(name, text)
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, np.ascontiguousarray(tensor.data))
            continue
        matrix = np.ascontiguousarray(tensor.data, dtype=np.float32)
        quantized = gguf.quants.quantize(matrix, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(tensor.name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    _finish(writer)


def _writer(reader: gguf.GGUFReader, target: Path, without: set[str]) -> gguf.GGUFWriter:
    """For a file with the same metadata but these."""
    architecture = reader.get_field("general.architecture")
    assert architecture is not None
    writer = gguf.GGUFWriter(target, architecture.contents())
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name not in without | {"general.architecture"}:
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    return writer


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def demo_recipe() -> Iterator[Any]:
    """``to_transformers(gguf, folder)`` of the demo model's recipe, which is no installed package."""
    sys.path.insert(0, str(ROOT / "models/neo-demo"))
    try:
        yield importlib.import_module("recipe.transformers_twin").to_transformers
    finally:
        sys.path.remove(str(ROOT / "models/neo-demo"))


def write_random_model(source: Path, target: Path, architecture: str) -> None:
    """A tiny model of another architecture (``llama`` or ``qwen2``) with random F16 weights, and the
    vocabulary of ``source``. Its attention is sharp enough for positions to matter."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("tokenizer."):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    width, heads, kv_heads, inside, vocabulary = 128, 4, 2, 256, 4096
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(1024)
    writer.add_embedding_length(width)
    writer.add_block_count(2)
    writer.add_feed_forward_length(inside)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(width // heads)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    random = np.random.default_rng(11)

    def matrix(name: str, rows: int, columns: int, strength: float = 1.0) -> None:
        values = random.standard_normal((rows, columns)) * strength / np.sqrt(columns)
        writer.add_tensor(f"{name}.weight", values.astype(np.float16))

    matrix("token_embd", vocabulary, width, 8.0)
    matrix("output", vocabulary, width, 4.0)
    keys = kv_heads * width // heads
    for layer in range(2):
        block = f"blk.{layer}"
        for name, rows, strength in (("q", width, 3.0), ("k", keys, 3.0), ("v", keys, 1.0)):
            matrix(f"{block}.attn_{name}", rows, width, strength)
            if architecture == "qwen2":
                writer.add_tensor(
                    f"{block}.attn_{name}.bias", random.standard_normal(rows).astype(np.float32)
                )
        matrix(f"{block}.attn_output", width, width)
        matrix(f"{block}.ffn_gate", inside, width)
        matrix(f"{block}.ffn_up", inside, width)
        matrix(f"{block}.ffn_down", width, inside)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}.{name}.weight", np.ones(width, dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    _finish(writer)
