"""What this machine has to compute models with, found out without importing any of it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ai_core.catalog.engine_choice import Machine

CPU_INFO = Path("/proc/cpuinfo")
VNNI = "avx512_vnni"
KERNELS = Path("lib/libggml-neo.so")
"""In the package of llama_cpp, where the set-up puts it."""


def this_machine(*, kernels: str = "auto", converter: bool = False) -> Machine:
    """Which engines are installed here.

    Args:
        kernels: ENGINE_KERNELS.
        converter: whether safetensors can be converted for OpenVINO.
    """
    return Machine(
        llama_cpp=_installed("llama_cpp"),
        openvino=_installed("openvino_genai"),
        transformers=_installed("transformers") and _installed("torch"),
        onnxruntime=_installed("onnxruntime_genai"),
        converter=converter,
        own_kernels=kernels == "auto" and has_own_kernels(),
    )


def has_own_kernels() -> bool:
    """Whether llama.cpp has our kernels here: they are built, and the processor has AVX-512 VNNI."""
    found = find_spec("llama_cpp")
    if found is None or found.origin is None or not (Path(found.origin).parent / KERNELS).is_file():
        return False
    return VNNI in processor_flags()


def processor_flags(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """What the processor can do, by Linux' names; empty where Linux does not say."""
    try:
        lines = cpu_info.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.split())


def _installed(package: str) -> bool:
    return find_spec(package) is not None
