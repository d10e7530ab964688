"""What is said to the process that quantizes models, and by it."""

from __future__ import annotations

import msgspec


class Quantize(msgspec.Struct, frozen=True):
    """To the process that quantizes (``python -m ai_core.engine.quantizer``), as a line of JSON."""

    source: str
    target: str
    file_type: int
    """llama.cpp's ``llama_ftype``."""
    threads: int = 0
    """0: all cores."""


class QuantizeProgress(msgspec.Struct, frozen=True, tag="progress"):
    """From there, as lines of JSON."""

    tensor: int
    tensors: int


class QuantizeEnd(msgspec.Struct, frozen=True, tag="end"):
    """The last line. ``problem`` is empty when the file is written."""

    problem: str = ""
