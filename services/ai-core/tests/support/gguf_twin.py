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
