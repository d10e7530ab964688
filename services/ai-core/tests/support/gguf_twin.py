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


def write_f32_twin(source: Path, target: Path, further: Mapping[str, int] | None = None) -> None:
    """Copy a GGUF file with all matrices as F32, and with ``further`` metadata. Values do not change: F16
    is a part of F32."""
    reader = gguf.GGUFReader(source)
    architecture = reader.get_field("general.architecture")
    assert architecture is not None
    writer = gguf.GGUFWriter(target, architecture.contents())
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name not in _REPLACED:
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    for name, value in (further or {}).items():
        writer.add_uint32(name, value)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.ascontiguousarray(tensor.data, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


_REPLACED = frozenset({"general.architecture", "general.file_type"})


@contextmanager
def demo_recipe() -> Iterator[Any]:
    """``to_transformers(gguf, folder)`` of the demo model's recipe, which is no installed package."""
    sys.path.insert(0, str(ROOT / "models/neo-demo"))
    try:
        yield importlib.import_module("recipe.transformers_twin").to_transformers
    finally:
        sys.path.remove(str(ROOT / "models/neo-demo"))
