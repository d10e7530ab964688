"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_memory_back() -> None:
    """Let the C library return what it keeps for later (``malloc_trim``, glibc; elsewhere nothing)."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
