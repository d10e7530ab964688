"""What the processor can do."""

from __future__ import annotations

from pathlib import Path


def cpu_flags() -> frozenset[str]:
    """Its instruction sets by Linux's names (``avx512_bf16``); empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())
