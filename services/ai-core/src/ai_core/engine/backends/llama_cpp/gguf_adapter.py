"""GGUF, as much of it as adapters need: a header that may be hostile, and a small file of our own."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ai_core.engine.backends import gguf_file
from ai_core.engine.backends.gguf_file import ALIGNMENT, FLOAT, MAGIC, TEXT, VERSIONS, BadGguf, GgufHeader

MOST_ENTRIES = 65_536
"""Of metadata, of tensors, and of one list: adapters have far fewer."""
LONGEST_TEXT = 1 << 20
_F32 = 0
_TYPE_SIZES = {0: (1, 4), 1: (1, 2), 8: (32, 34), 30: (1, 2)}
"""Elements and bytes of a block of F32, F16, Q8_0 and BF16 (``enum ggml_type``)."""

Matrices = Mapping[str, npt.NDArray[np.float32]]


def read_adapter_header(path: Path) -> GgufHeader:
    """The header of an adapter's file; every tensor is known to lie within it.

    Raises:
        BadGguf: cut short, contradictory, or larger than adapters are.
        OSError: unreadable.
    """
    header = gguf_file.read_header(path, most_entries=MOST_ENTRIES, longest_text=LONGEST_TEXT)
    for tensor in header.tensors:
        if tensor.type not in _TYPE_SIZES:
            raise BadGguf(f"the tensor '{tensor.name[:80]}' has a type that adapters do not have")
        block, bytes_ = _TYPE_SIZES[tensor.type]
        length = math.prod(tensor.shape) // block * bytes_
        if header.numbers + tensor.offset + length > header.size:
            raise BadGguf(f"the tensor '{tensor.name[:80]}' lies beyond its end: it was cut short")
    return header


def write_gguf(path: Path, metadata: Mapping[str, str | float], matrices: Matrices) -> None:
    """Write texts, 32-bit floats and F32 matrices, given with their slowest dimension first."""
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", VERSIONS[-1], len(matrices), len(metadata)))
        for key, value in metadata.items():
            if isinstance(value, str):
                file.write(_text(key) + struct.pack("<I", TEXT) + _text(value))
            else:
                file.write(_text(key) + struct.pack("<If", FLOAT, value))
        offset = 0
        for name, matrix in matrices.items():
            file.write(_text(name) + struct.pack("<I", matrix.ndim))
            file.write(struct.pack(f"<{matrix.ndim}Q", *reversed(matrix.shape)))
            file.write(struct.pack("<IQ", _F32, offset))
            offset += _padded(matrix.nbytes)
        file.write(bytes(_padded(file.tell()) - file.tell()))
        for matrix in matrices.values():
            file.write(np.ascontiguousarray(matrix, dtype="<f4").tobytes())
            file.write(bytes(_padded(matrix.nbytes) - matrix.nbytes))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
