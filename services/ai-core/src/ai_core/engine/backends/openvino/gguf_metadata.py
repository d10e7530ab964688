"""What a GGUF file says about its model, read without any inference library.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The vocabulary is part of it, so this reader takes
lists of hundreds of thousands of texts; it reads the file through a memory map and believes no length.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"
VERSIONS = (2, 3)
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
_TEXT, _LIST = 8, 9
_MOST_ENTRIES = 10_000_000
_MOST_DIMENSIONS = 4


class BadFile(Exception):
    """This is no GGUF file that can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class GgufModel:
    """The header of a file."""

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
    """The header of a file.

    Raises:
        BadFile: no GGUF, cut short, or contradictory.
        OSError: unreadable.
    """
    size = path.stat().st_size
    if size < len(MAGIC):
        raise BadFile("it is empty" if not size else "it does not begin with the letters GGUF")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        if reader.take(4) != MAGIC:
            raise BadFile("it does not begin with the letters GGUF")
        if (version := reader.number("<I")) not in VERSIONS:
            raise BadFile(f"version {version} of the format is unknown")
        tensors, entries = reader.count(), reader.count()
        metadata = {reader.text(): reader.value(reader.number("<I")) for _ in range(entries)}
        types: dict[str, int] = {}
        parameters = 0
        for _ in range(tensors):
            name, elements, types_number = reader.tensor(size)
            types[name] = types_number
            parameters += elements
        return GgufModel(metadata, types, parameters, size)


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._place = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._place : self._place + size]
        if len(taken) != size:
            raise BadFile("it ends in the middle of its header")
        self._place += size
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self) -> int:
        count = int(self.number("<Q"))
        if count > _MOST_ENTRIES:
            raise BadFile(f"it claims {count} entries")
        return count

    def text(self) -> str:
        size = int(self.number("<Q"))
        if size > len(self._data):
            raise BadFile(f"it claims a text of {size} bytes")
        return self.take(size).decode(errors="replace")

    def value(self, type_: int, *, nested: bool = False) -> Any:
        if type_ == _TEXT:
            return self.text()
        if type_ == _LIST and not nested:
            inner, count = int(self.number("<I")), self.count()
            form = _SCALARS.get(inner)
            if form is None:
                return [self.value(inner, nested=True) for _ in range(count)]
            return list(struct.unpack(f"<{count}{form[1]}", self.take(count * struct.calcsize(form))))
        if type_ not in _SCALARS:
            raise BadFile(f"a value of the unknown type {type_}")
        return self.number(_SCALARS[type_])

    def tensor(self, size: int) -> tuple[str, int, int]:
        """Name, elements, type."""
        name, dimensions = self.text(), int(self.number("<I"))
        if dimensions > _MOST_DIMENSIONS:
            raise BadFile(f"the tensor '{name[:80]}' claims {dimensions} dimensions")
        elements = math.prod(int(self.number("<Q")) for _ in range(dimensions))
        type_, offset = int(self.number("<I")), int(self.number("<Q"))
        if offset > size:
            raise BadFile(f"the tensor '{name[:80]}' lies beyond its end: it was cut short")
        return name, elements, type_
