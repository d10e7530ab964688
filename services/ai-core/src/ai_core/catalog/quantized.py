"""Models that were quantized here: a file and what it was made from, each a model of a name of its own.

``MODEL_CACHE_DIR/quantized/NAME-q4_k_m.gguf`` lies beside ``NAME-q4_k_m.json``, which is written last:
without it, the file is not complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from ai_core.catalog.facts import FILE_TYPES
from ai_core.catalog.models import ModelEntry

QUANTIZED_FOLDER = "quantized"
GOOD_SOURCES = frozenset({"F32", "F16", "BF16", "Q8_0"})
"""What loses little when it is quantized; anything smaller would be spoiled by it."""


class QuantizedModel(msgspec.Struct, frozen=True):
    """The file beside a quantized model."""

    name: str
    source: str
    """The model that it was made from."""
    file_type: str
    """``Q4_K_M``, …"""
    size: int
    sha256: str


def file_type_number(name: str) -> int | None:
    """llama.cpp's number of a quantization such as ``q4_k_m``; None: there is none of that name."""
    return next((number for number, known in FILE_TYPES.items() if known == name.upper()), None)


def quantized_name(source: str, file_type: str) -> str:
    """What a quantized model is called."""
    return f"{source}-{file_type.lower()}"


def quantized_path(models_dir: Path, name: str) -> Path:
    """Where the file of a quantized model lies; its description beside it ends in ``.json``."""
    return models_dir / QUANTIZED_FOLDER / f"{name.replace('/', '--')}.gguf"


def described(path: Path) -> QuantizedModel | None:
    """What a quantized model's file is; None: it is not one, or not complete."""
    try:
        found = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=QuantizedModel)
    except (OSError, msgspec.DecodeError):
        return None
    return found if path.is_file() else None


def with_quantized(entries: Iterable[ModelEntry], models_dir: Path) -> list[ModelEntry]:
    """These models and those that were made from them here, which are run in the same way.

    A name that the models file gives to another model stays that model's.
    """
    every = list(entries)
    taken = {name for entry in every for name in (entry.name, *entry.aliases)}
    by_name = {entry.name: entry for entry in every}
    for path in sorted((models_dir / QUANTIZED_FOLDER).glob("*.gguf")):
        found = described(path)
        if found is None or found.name in taken or found.source not in by_name:
            continue
        source = by_name[found.source]
        every.append(
            replace(
                source,
                name=found.name,
                path=path,
                hub=None,
                quantization="none",
                aliases=(),
                pinned=False,
                preload=False,
            )
        )
    return every
