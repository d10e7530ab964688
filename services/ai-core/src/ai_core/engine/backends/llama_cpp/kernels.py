"""The code that computes: ggml's own for this processor, and ours (services/ai-core/native) beside it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import llama_cpp.llama_cpp as lib

LIBRARIES = Path(llama_cpp.__file__).parent / "lib"
PROCESSOR_CODE = "libggml-cpu-*.so"
"""ggml's own code for a family of processors, where it was compiled for all of them (as in the image)."""
LIBRARY = LIBRARIES / "libggml-neo.so"
"""The set-up puts it there. Absent where its compiler or processor family does not fit."""
HEAD_WIDTH_STEP = 64
"""Attention is taken over for heads of a multiple of this width."""

_loaded: list[bool] = []
_chosen: list[bool] = []


def load_kernels() -> bool:
    """Register the kernels with ggml, once per process and before any model is loaded.

    Returns:
        Whether they are in use: not without the library, nor on a processor without AVX-512 VNNI.
    """
    if not _loaded:
        _loaded.append(LIBRARY.exists() and _register(LIBRARY))
    return _loaded[0]


def load_processor_code() -> None:
    """Choose ggml's code for this processor, once per process and before any model is loaded.

    Nothing is to be chosen where llama.cpp was compiled for this machine alone.
    """
    if not _chosen:
        _chosen.append(any(LIBRARIES.glob(PROCESSOR_CODE)))
        if _chosen[0]:
            load = lib._lib.ggml_backend_load_all_from_path
            load.argtypes, load.restype = [ctypes.c_char_p], None
            load(str(LIBRARIES).encode())


def _register(library: Path) -> bool:
    # Looked up through llama.cpp's own library: another copy of libggml would have a registry of its own.
    load = lib._lib.ggml_backend_load
    load.argtypes, load.restype = [ctypes.c_char_p], ctypes.c_void_p
    return bool(load(str(library).encode()))
