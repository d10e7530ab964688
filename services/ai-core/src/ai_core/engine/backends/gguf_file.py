"""What stands before the numbers in a GGUF file, read without any inference library.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A model's vocabulary is part of it, so
lists of hundreds of thousands of texts are read in one go. The file may be hostile: it is read through a
memory map, and no length is believed.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
"""Of the numbers, where a file does not say otherwise."""
TEXT, LIST, FLOAT = 8, 9, 6
"""Types of values."""
MOST_ENTRIES = 10_000_000
"""Of metadata, of tensors, and of one list."""
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    FLOAT: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_MOST_DIMENSIONS = 4


class BadGguf(Exception):
    """This is no GGUF file that can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor's place. ``shape`` begins with the dimension that changes fastest."""

    name: str
    shape: tuple[int, ...]
    type: int
    """``enum ggml_type``."""
    offset: int
    """In bytes, from where the numbers begin."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything but the numbers."""

    metadata: dict[str, Any]
    """Numbers, texts, booleans, and lists of these."""
    tensors: list[GgufTensor]
    numbers: int
    """Where the numbers begin, in bytes from the file's beginning."""
    size: int
    """Bytes of the file."""


def read_header(path: Path, *, most_entries: int = MOST_ENTRIES, longest_text: int = 1 << 30) -> GgufHeader:
    """The header of a file; every tensor begins within it.

    Args:
        path: of the file.
        most_entries: of metadata, of tensors, and of one list.
        longest_text: in bytes.

    Raises:
        BadGguf: no GGUF, cut short, contradictory, or larger than that.
        OSError: unreadable.
    """
    size = path.stat().st_size
    if size < len(MAGIC):
        raise BadGguf("it is empty" if not size else "it does not begin with the letters GGUF")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data, most_entries, longest_text)
        if reader.take(4) != MAGIC:
            raise BadGguf("it does not begin with the letters GGUF")
        if (version := reader.number("<I")) not in VERSIONS:
            raise BadGguf(f"version {version} of the format is unknown")
        tensors, entries = reader.count(), reader.count()
        metadata = {reader.text(): reader.value(int(reader.number("<I"))) for _ in range(entries)}
        places = [reader.tensor() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or not 1 <= alignment <= 65_536:
            raise BadGguf("its alignment is impossible")
        return GgufHeader(metadata, places, -(-reader.place // alignment) * alignment, size)


class _Reader:
    """Reads what a header consists of, and believes no length that is not plausible."""

    def __init__(self, data: mmap.mmap, most_entries: int, longest_text: int) -> None:
        self._data = data
        self._most_entries = most_entries
        self._longest_text = min(longest_text, len(data))
        self.place = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self.place : self.place + size]
        if len(taken) != size:
            raise BadGguf("it ends in the middle of its header")
        self.place += size
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self) -> int:
        count = int(self.number("<Q"))
        if count > self._most_entries:
            raise BadGguf(f"it claims {count} entries, and may have {self._most_entries}")
        return count

    def text(self) -> str:
        size = int(self.number("<Q"))
        if size > self._longest_text:
            raise BadGguf(f"it claims a text of {size} bytes")
        return self.take(size).decode(errors="replace")

    def value(self, type_: int, *, nested: bool = False) -> Any:
        if type_ == TEXT:
            return self.text()
        if type_ == LIST and not nested:
            inner, count = int(self.number("<I")), self.count()
            form = _SCALARS.get(inner)
            if form is None:
                return [self.value(inner, nested=True) for _ in range(count)]
            return list(struct.unpack(f"<{count}{form[1]}", self.take(count * struct.calcsize(form))))
        if type_ not in _SCALARS:
            raise BadGguf(f"a value of the unknown type {type_}")
        return self.number(_SCALARS[type_])

    def tensor(self) -> GgufTensor:
        name, dimensions = self.text(), int(self.number("<I"))
        if dimensions > _MOST_DIMENSIONS:
            raise BadGguf(f"the tensor '{name[:80]}' claims {dimensions} dimensions")
        shape = tuple(int(self.number("<Q")) for _ in range(dimensions))
        type_, offset = int(self.number("<I")), int(self.number("<Q"))
        if offset > len(self._data):
            raise BadGguf(f"the tensor '{name[:80]}' lies beyond its end: it was cut short")
        return GgufTensor(name, shape, type_, offset)
