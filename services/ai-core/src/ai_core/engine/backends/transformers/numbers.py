"""In which numbers a model is computed. Pure."""

from __future__ import annotations

from collections.abc import Collection

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""A processor with one of these multiplies bfloat16; others convert each number first."""


def computed_in(stored: str, device: str, cpu_flags: Collection[str]) -> str:
    """The type to load the weights in, by torch's names.

    On accelerators: as they are stored. On a processor, bfloat16 stays where it is multiplied directly;
    elsewhere, and for float16, float32: it is exact, and faster than converting at each step.

    Args:
        stored: the type in the files; empty: unknown.
        device: as torch calls it, e.g. ``cpu`` or ``cuda:0``.
        cpu_flags: the processor's instruction sets.
    """
    if device.partition(":")[0] != "cpu":
        return stored or "bfloat16"
    if stored == "bfloat16" and BF16_FLAGS & set(cpu_flags):
        return "bfloat16"
    return "float32"
