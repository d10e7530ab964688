"""How an engine process is started."""

from __future__ import annotations

from typing import Literal

import msgspec


class AdapterFile(msgspec.Struct, frozen=True):
    """A LoRA adapter: a GGUF file, or a folder of PEFT's."""

    name: str
    path: str
    scale: float = 1.0


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine process is started: ``python -m ai_core.engine FD JSON``, where FD is the engine's
    end of a stream socket pair and JSON is this structure."""

    backend: str = "llama_cpp"
    """``llama_cpp``, or ``scripted``: answers at once with the request's text, to measure the edge."""
    model_path: str
    adapters: list[AdapterFile] = []
    """Those that requests may name from the start."""
    converted_adapters: str = ""
    """A folder where adapters are kept in the form that the backend reads, once they were converted; empty:
    none is kept."""
    chat_template: str | None = None
    """Jinja, instead of the model's own."""
    device: str = "auto"
    """Where it is computed: ``auto``, ``cpu``, or what the backend calls its devices."""
    quantization: str = "none"
    """Of weights that are quantized while they are loaded: ``none``, ``int8`` or ``4bit``."""
    trust_remote_code: bool = False
    """Whether Python code from the model's folder may run (transformers)."""
    context_length: int = 0
    """0: the length the model was trained for, at most 8,192."""
    kv_cells: int = 0
    """Tokens that all sequences may hold together; 0: computed from context_length and max_sequences."""
    max_sequences: int = 16
    """Sequences decoding side by side."""
    max_waiting: int = 256
    threads: int = 0
    """0: one per core this process may run on."""
    itl_target_ms: float = 0.0
    """What prefill may stretch the time between two tokens of running streams to; 0: the default."""
    kv_type: str = "auto"
    """How keys and values are stored: ``f16``, ``bf16``, or ``auto``."""
    kernels: str = "auto"
    """``auto``: our own kernels where they run; ``ggml``: only ggml's."""
    converted_models: str = ""
    """A folder where models are kept in the form that the backend computes with (OpenVINO), once they were
    brought into it; empty: none is kept, and each load does it again."""
    converter: list[str] = []
    """A command that brings a folder of safetensors into OpenVINO's form, to be followed by the folder, the
    one that keeps converted models, and the quantization (``ai_core.catalog.conversion``). Empty: there is
    none."""
    precision: Literal["auto", "f32"] = "auto"
    """What OpenVINO computes in: what the processor is fastest with, or F32, to compare outputs."""
    prefill_chunk: int = 0
    """Tokens of a long prompt in a step beside running streams (OpenVINO); 0: what the target allows."""
    coalescing: bool = True
    """Whether a prefix that several need at the same time is computed once; off to measure what that is
    worth."""
    pause_bytes: int = 512 * 1024 * 1024
    """RAM for the state of paused sequences."""
    kind: Literal["auto", "generation", "embedding"] = "auto"
    """What the model does; ``auto``: as its metadata says."""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How an embedding model makes one vector of many; ``auto``: as its metadata says."""
    matryoshka: bool = False
    """Whether the first numbers of the model's vectors are vectors of their own, so that callers may ask
    for shorter ones (Matryoshka representation learning, arXiv 2205.13147). No metadata says so."""
    max_prompt_tokens: int = 0
    """Longer prompts are refused; 0: as long as the context allows."""
    log_level: str = "info"
