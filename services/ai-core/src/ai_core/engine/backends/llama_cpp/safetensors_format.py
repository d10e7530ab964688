"""safetensors files read with NumPy alone; the header may be hostile.

The format: eight bytes of length, a JSON object with each tensor's type, shape and place, then the
numbers. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST_HEADER = 16 << 20
MOST_TENSORS = 65_536
Floats = npt.NDArray[np.float32]


class BadSafetensors(Exception):
    """The file is broken, or holds something else than floats; the text says where."""


def read_floats(path: Path) -> dict[str, Floats]:
    """All tensors by name, as 32-bit floats.

    Raises:
        BadSafetensors: cut short, contradictory, or with numbers that are no floats.
        OSError: unreadable.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if len(head) < 8:
            raise BadSafetensors("it is too short to be a safetensors file")
        (length,) = struct.unpack("<Q", head)
        if length > min(LARGEST_HEADER, size - 8):
            raise BadSafetensors(f"its header claims {length} bytes")
        entries = _header(file.read(length))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=0)[8 + length :]
    return {name: _tensor(name, entry, data) for name, entry in entries.items() if name != "__metadata__"}


def _header(text: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSafetensors("its header is no JSON") from error
    if not isinstance(entries, dict) or len(entries) > MOST_TENSORS:
        raise BadSafetensors("its header is no list of tensors")
    return entries


def _tensor(name: str, entry: Any, data: npt.NDArray[np.uint8]) -> Floats:
    shown = f"the tensor '{name[:80]}'"
    try:
        kind, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise BadSafetensors(f"{shown} is not described as it should be") from error
    numbers = (*shape, start, end)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise BadSafetensors(f"{shown} has an impossible shape or place")
    width = {"F32": 4, "F16": 2, "BF16": 2}.get(kind)
    if width is None:
        raise BadSafetensors(f"{shown} is of type {str(kind)[:20]}; F32, F16 and BF16 are read")
    if end > len(data) or end - start != math.prod(shape) * width:
        raise BadSafetensors(f"{shown} does not lie where its header says")
    return _floats(np.asarray(data[start:end]), kind).reshape(shape)


def _floats(raw: npt.NDArray[np.uint8], kind: str) -> Floats:
    if kind == "F32":
        return raw.view("<f4").astype(np.float32)
    if kind == "F16":
        return raw.view("<f2").astype(np.float32)
    # BF16 is the upper half of a 32-bit float.
    return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
