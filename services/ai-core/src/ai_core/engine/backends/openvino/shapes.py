"""Which GGUF files OpenVINO's reader turns into the same model as llama.cpp. Pure."""

from __future__ import annotations

from ai_core.engine.backends.openvino.gguf_model import GgufModel

ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
WEIGHTS = {1: "F16", 2: "Q4_0", 8: "Q8_0"}
"""``ggml_type`` of matrices; vectors are F32 in every file."""
_VECTORS = 0
_MATRIX_SUFFIX = ".weight"
_LLAMA_CPP = "use the engine llama.cpp for it"


def unsupported(model: GgufModel) -> str | None:
    """Why this file cannot be served by OpenVINO, as the end of a sentence about it; None: it can."""
    if model.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        return f"has the architecture '{model.architecture}'; OpenVINO's reader knows {known}: {_LLAMA_CPP}"
    if "general.file_type" not in model.metadata:
        return f"does not say how its weights are stored (general.file_type): {_LLAMA_CPP}"
    return _unlike(model) or _weights(model)


def _unlike(model: GgufModel) -> str | None:
    """What the reader passes over in silence, so that answers would be different ones."""
    scaling = model.of_architecture("rope.scaling.type")
    if scaling not in (None, "none") or "rope_freqs.weight" in model.tensors:
        return f"scales its positions (RoPE), which OpenVINO's reader does not see: {_LLAMA_CPP}"
    if model.of_architecture("expert_count"):
        return f"has experts, which OpenVINO's reader does not know: {_LLAMA_CPP}"
    if model.of_architecture("attention.sliding_window"):
        return f"looks back through a window, which OpenVINO's reader does not see: {_LLAMA_CPP}"
    return None


def _weights(model: GgufModel) -> str | None:
    types = {
        type_ for name, type_ in model.tensors.items() if name.endswith(_MATRIX_SUFFIX) and "norm" not in name
    }
    if unknown := types - set(WEIGHTS):
        named = "F32" if _VECTORS in unknown else f"type {min(unknown)} of ggml"
        known = ", ".join(WEIGHTS.values())
        return f"has weights in {named}, and OpenVINO is served {known}: {_LLAMA_CPP}"
    return None
