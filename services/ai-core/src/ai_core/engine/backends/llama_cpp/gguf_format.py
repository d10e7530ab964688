"""GGUF, as much of it as adapters need: a header that may be hostile, and a small file of our own.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
MOST_ENTRIES = 65_536
"""Of metadata, of tensors, and of one array: adapters have far fewer."""
LONGEST_TEXT = 1 << 20
_MOST_DIMENSIONS = 4
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_F32 = 0
_TYPE_SIZES = {0: (1, 4), 1: (1, 2), 8: (32, 34), 30: (1, 2)}
"""Elements and bytes of a block of F32, F16, Q8_0 and BF16 (``enum ggml_type``)."""

Value = str | int | float | bool | list["Value"]
Matrices = Mapping[str, npt.NDArray[np.float32]]


class BadGguf(Exception):
    """The file is broken; the text says where."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor's place. ``shape`` begins with the dimension that changes fastest."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything but the numbers."""

    metadata: dict[str, Value]
    tensors: list[GgufTensor]


def read_header(path: Path) -> GgufHeader:
    """The header of a file; every tensor is known to lie within it.

    Raises:
        BadGguf: cut short, contradictory, or larger than adapters are.
        OSError: unreadable.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        reader = _Reader(file)
        if reader.take(4) != MAGIC:
            raise BadGguf("it does not begin with the letters GGUF")
        if (version := reader.number("<I")) not in VERSIONS:
            raise BadGguf(f"version {version} of the format is unknown")
        tensors, entries = reader.count(), reader.count()
        metadata = {reader.text(): reader.value(int(reader.number("<I"))) for _ in range(entries)}
        header = GgufHeader(metadata, [reader.tensor() for _ in range(tensors)])
        _check_places(header, file.tell(), size)
        return header


def write_gguf(path: Path, metadata: Mapping[str, str | float], matrices: Matrices) -> None:
    """Write texts, 32-bit floats and F32 matrices, given with their slowest dimension first."""
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", VERSIONS[-1], len(matrices), len(metadata)))
        for key, value in metadata.items():
            if isinstance(value, str):
                file.write(_text(key) + struct.pack("<I", _STRING) + _text(value))
            else:
                file.write(_text(key) + struct.pack("<If", 6, value))
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


class _Reader:
    """Reads what a header consists of, and believes no length that is not plausible."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise BadGguf("it ends in the middle of its header")
        return data

    def number(self, form: str) -> int | float | bool:
        number: int | float | bool = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return number

    def count(self) -> int:
        count = int(self.number("<Q"))
        if count > MOST_ENTRIES:
            raise BadGguf(f"it claims {count} entries, more than an adapter has")
        return count

    def text(self) -> str:
        size = int(self.number("<Q"))
        if size > LONGEST_TEXT:
            raise BadGguf(f"it claims a text of {size} bytes")
        return self.take(size).decode(errors="replace")

    def value(self, type_: int, *, nested: bool = False) -> Value:
        if type_ == _STRING:
            return self.text()
        if type_ == _ARRAY and not nested:
            inner = int(self.number("<I"))
            return [self.value(inner, nested=True) for _ in range(self.count())]
        if type_ not in _SCALARS:
            raise BadGguf(f"a value of the unknown type {type_}")
        return self.number(_SCALARS[type_])

    def tensor(self) -> GgufTensor:
        name = self.text()
        dimensions = int(self.number("<I"))
        if dimensions > _MOST_DIMENSIONS:
            raise BadGguf(f"the tensor '{name[:80]}' claims {dimensions} dimensions")
        shape = tuple(int(self.number("<Q")) for _ in range(dimensions))
        return GgufTensor(name, shape, int(self.number("<I")), int(self.number("<Q")))


def _check_places(header: GgufHeader, end: int, size: int) -> None:
    stated = header.metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(stated, int) or stated < 1 or stated > 65_536:
        raise BadGguf("its alignment is impossible")
    start = -(-end // stated) * stated
    for tensor in header.tensors:
        if tensor.type not in _TYPE_SIZES:
            raise BadGguf(f"the tensor '{tensor.name[:80]}' has a type that adapters do not have")
        block, bytes_ = _TYPE_SIZES[tensor.type]
        length = math.prod(tensor.shape) // block * bytes_
        if start + tensor.offset + length > size:
            raise BadGguf(f"the tensor '{tensor.name[:80]}' lies beyond its end: it was cut short")


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
