"""What a GGUF file says about its model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_core.engine.backends.gguf_file import read_header


@dataclass(frozen=True, slots=True)
class GgufModel:
    """The header of a file, as far as it is needed here."""

    metadata: Mapping[str, Any]
    """Numbers, texts, booleans, and lists of these."""
    tensors: Mapping[str, int]
    """The type of each tensor (``ggml_type``), by its name."""
    parameters: int
    size: int
    """Bytes of the file."""

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    def of_architecture(self, key: str) -> Any:
        """The value of ``{architecture}.{key}``; None: there is none."""
        return self.metadata.get(f"{self.architecture}.{key}")


def read_gguf(path: Path) -> GgufModel:
    """A file's description of its model.

    Raises:
        BadGguf: no GGUF, cut short, or contradictory.
        OSError: unreadable.
    """
    header = read_header(path)
    return GgufModel(
        header.metadata,
        {tensor.name: tensor.type for tensor in header.tensors},
        sum(math.prod(tensor.shape) for tensor in header.tensors),
        header.size,
    )
