"""Numbers of bytes, and what they mean for memory. Pure."""

from __future__ import annotations

_UNITS = ("kB", "MB", "GB", "TB")
_BUFFERS = 300_000_000
"""A small context's keys and values, and the buffers of a computation."""


def in_words(count: int) -> str:
    """``5.1 GB``, as disks and the hub count: 1 GB is 10⁹ bytes."""
    if count < 1_000:
        return f"{count} bytes"
    value = count / 1_000
    unit = 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value /= 1_000
        unit += 1
    return f"{value:.1f} {_UNITS[unit]}"


def memory_estimate(weights: int) -> int:
    """Bytes of memory that a model takes at least, told from its files' size before they are here.

    Weights are held as they are stored, some of them a second time in another order (measured: up to a tenth
    beyond). What is measured when the model is loaded goes before this.
    """
    return weights + weights // 10 + _BUFFERS
