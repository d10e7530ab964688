"""The header of a GGUF file: metadata and the list of tensors, without any inference library.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Nothing in a file is believed: what would take
more than :data:`MAX_HEADER_BYTES` or lie behind the end of the file is an error, whatever counts it claims.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 256 * 1024 * 1024
MAX_TENSORS = 1_000_000
MAX_KEYS = 100_000
MAX_KEPT_TEXT = 1_048_576
"""Longer texts are left out of the metadata."""
UNKNOWN_TYPE = "?"
_MAX_DIMENSIONS = 8
_MAX_TENSOR_NAME = 65_535
_ROPE_FACTORS = "rope_freqs.weight"
_MAX_NESTING = 4
_DEFAULT_ALIGNMENT = 32

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
_TEXT, _ARRAY = 8, 9

Scalar = int | float | bool | str

# fmt: off
TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K",
    11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
    27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
    41: "Q1_0",
}
"""``ggml_type``, by number."""
# fmt: on


class BadHeader(Exception):
    """This is no GGUF file that can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """``metadata`` has single values and short texts, ``lengths`` the number of entries of each list."""

    metadata: Mapping[str, Scalar]
    lengths: Mapping[str, int]
    tensors: int
    parameters: int
    """Weights of all tensors together."""
    main_type: str
    """How most weights are stored, e.g. ``Q8_0``; empty: no tensors, or a type that is not known here."""
    data_offset: int
    """Where the weights begin, in bytes."""
    size: int
    """Of the file."""
    matrices: frozenset[str] = frozenset()
    """How the matrices are stored, norms left out, e.g. ``{"Q4_0", "Q6_K"}``; ``?`` for unknown types."""
    rope_factors: bool = False
    """Positions are scaled by a tensor of factors, as in Llama 3.1."""

    def text(self, key: str) -> str:
        """A text of the metadata, or empty."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def whole(self, key: str) -> int:
        """A whole number of the metadata, or 0."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0


def read_header(path: Path) -> GgufHeader:
    """The header of a file; read once as long as the file stays as it is. Raises BadHeader, OSError."""
    status = path.stat()
    return _read(path, (status.st_size, status.st_mtime_ns, status.st_ino))


@lru_cache(maxsize=64)
def _read(path: Path, _signature: tuple[int, int, int]) -> GgufHeader:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        return _header(_Reader(file, size))


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self.at = 0
        self._file = file
        self._end = min(size, MAX_HEADER_BYTES)

    def take(self, count: int) -> bytes:
        self._room(count)
        data = self._file.read(count)
        if len(data) != count:
            raise BadHeader("the file became shorter while it was read")
        self.at += count
        return data

    def skip(self, count: int) -> None:
        self._room(count)
        self._file.seek(count, 1)
        self.at += count

    def number(self, form: str) -> int | float | bool:
        value: int | float | bool = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def count(self, form: str, most: int, what: str) -> int:
        value = int(self.number(form))
        if value > most:
            raise BadHeader(f"it claims to have {value} {what}")
        return value

    def text(self) -> str:
        return self.take(self.count("<Q", self.size, "bytes in one text")).decode("utf-8", "replace")

    def _room(self, count: int) -> None:
        if count > self._end - self.at:
            cut = self._end == self.size
            raise BadHeader(
                "the file ends in the middle of its header: the download or copy was cut short"
                if cut
                else f"its header is larger than {MAX_HEADER_BYTES} bytes"
            )


def _header(reader: _Reader) -> GgufHeader:
    if reader.size == 0:
        raise BadHeader("the file is empty: the download or copy was cut short")
    if reader.size < len(MAGIC) or reader.take(len(MAGIC)) != MAGIC:
        raise BadHeader("it does not begin with the letters GGUF")
    version = reader.number("<I")
    if version not in VERSIONS:
        raise BadHeader(f"it is of version {version}; versions 2 and 3 are read")
    tensors = reader.count("<Q", MAX_TENSORS, "tensors")
    keys = reader.count("<Q", MAX_KEYS, "entries of metadata")
    metadata: dict[str, Scalar] = {}
    lengths: dict[str, int] = {}
    for _ in range(keys):
        _entry(reader, metadata, lengths)
    listed = [_tensor(reader) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise BadHeader("its alignment is not a positive number")
    data = -(-reader.at // alignment) * alignment
    if listed and data + max(tensor.offset for tensor in listed) >= reader.size:
        raise BadHeader("the file ends before its last tensor: the download or copy was cut short")
    weights: Counter[str] = Counter()
    for tensor in listed:
        weights[tensor.type] += tensor.elements
    main = max(weights, key=lambda kind: weights[kind], default=UNKNOWN_TYPE)
    return GgufHeader(
        metadata,
        lengths,
        tensors,
        weights.total(),
        "" if main == UNKNOWN_TYPE else main,
        data,
        reader.size,
        frozenset(tensor.type for tensor in listed if tensor.is_matrix),
        any(tensor.name == _ROPE_FACTORS for tensor in listed),
    )


def _entry(reader: _Reader, metadata: dict[str, Scalar], lengths: dict[str, int]) -> None:
    key = reader.text()
    kind = int(reader.number("<I"))
    if kind == _ARRAY:
        lengths[key] = _skip_array(reader)
    elif kind == _TEXT:
        length = reader.count("<Q", reader.size, "bytes in one text")
        if length > MAX_KEPT_TEXT:
            reader.skip(length)
        else:
            metadata[key] = reader.take(length).decode("utf-8", "replace")
    else:
        metadata[key] = reader.number(_form(kind))


def _skip_array(reader: _Reader, depth: int = 0) -> int:
    kind = int(reader.number("<I"))
    count = reader.count("<Q", reader.size, "entries in one list")
    if kind == _TEXT:
        for _ in range(count):
            reader.skip(int(reader.number("<Q")))
    elif kind == _ARRAY:
        if depth >= _MAX_NESTING:
            raise BadHeader("its metadata has lists in lists in lists")
        for _ in range(count):
            _skip_array(reader, depth + 1)
    else:
        reader.skip(count * struct.calcsize(_form(kind)))
    return count


def _form(kind: int) -> str:
    if kind not in _SCALARS:
        raise BadHeader(f"its metadata has a value of the unknown type {kind}")
    return _SCALARS[kind]


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    type: str
    elements: int
    offset: int
    """From the beginning of the data."""

    @property
    def is_matrix(self) -> bool:
        return self.name.endswith(".weight") and "norm" not in self.name and self.name != _ROPE_FACTORS


def _tensor(reader: _Reader) -> _Tensor:
    name = reader.take(reader.count("<Q", _MAX_TENSOR_NAME, "bytes in the name of a tensor"))
    elements = 1
    for _ in range(reader.count("<I", _MAX_DIMENSIONS, "dimensions in a tensor")):
        elements *= int(reader.number("<Q"))
    kind = TENSOR_TYPES.get(int(reader.number("<I")), UNKNOWN_TYPE)
    return _Tensor(name.decode("utf-8", "replace"), kind, elements, int(reader.number("<Q")))
