"""What a model will hold in memory, told from its files before it is loaded for the first time.

Estimates are rather too high than too low: the first load must not drive the machine out of memory. After
it, what was measured counts (:mod:`.footprint`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai_core.catalog.facts import gguf_facts
from ai_core.catalog.gguf_header import BadHeader, GgufHeader, read_header
from ai_core.engine.messages import EngineConfig

_MIB = 1 << 20
_ADAPTER_FACTOR = 1.1


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes."""

    total: int
    cache: int = 0
    """Of that: keys and values, which a model that rests gives back."""
    weights: int = 0
    """Of that."""
    parameters: int = 0
    """0: unknown."""


@dataclass(frozen=True, slots=True)
class _Costs:
    """What a backend takes: for its process, and for each byte of the model's files."""

    process: int
    weights: float


_COSTS = {
    # Measured: 60 MiB with libraries; llguidance's process for grammars may come on top.
    "llama_cpp": _Costs(96 * _MIB, 1.02),
    # Measured: 843 MB for a file of 352 MB (Q4_0), converted while it is loaded.
    "openvino": _Costs(256 * _MIB, 2.0),
    # Weights may be widened to 32 bits where the processor does not multiply 16.
    "transformers": _Costs(640 * _MIB, 2.2),
    "onnxruntime": _Costs(256 * _MIB, 1.3),
    "scripted": _Costs(64 * _MIB, 0.0),
}
_QUANTIZED = {"int8": 0.54, "4bit": 0.32}
"""Of folders with weights of 16 bits, where they are quantized while they are loaded."""
_UNKNOWN = _Costs(512 * _MIB, 2.2)
_REPACKED = frozenset({"Q4_0", "Q4_K", "IQ4_NL"})
"""llama.cpp holds a second copy of such weights, in the order in which this processor reads them fastest.
Measured: 607 MB for a file of 335 MB (Q4_0)."""
_REPACKING = 1.9
_BATCH_ROWS = 512
"""Of one call of llama.cpp (``backends/llama_cpp/context.py``)."""
_LOGIT_BYTES = 4
_VOCABULARY_BYTES = 512
"""Per token: its text, and its place in the tree of grammars."""
_KEY_VALUE_BYTES = 2
_DEFAULT_CONTEXT = 8_192
_DEFAULT_CELLS_PER_SEQUENCE = 1_024
_UNKNOWN_CELL_BYTES = 128 << 10
"""Of a model with 7 billion parameters and grouped heads."""


def estimate(config: EngineConfig) -> Estimate:
    """What an engine will hold. Looks at the files that are there; what cannot be read counts nothing,
    because it will not be loaded either."""
    path = Path(config.model_path)
    costs = _COSTS.get(config.backend, _UNKNOWN)
    size = size_of(path) if config.backend != "scripted" else 0
    adapters = int(sum(size_of(Path(one.path)) for one in config.adapters) * _ADAPTER_FACTOR)
    header = _header(path)
    weights = int(size * costs.weights * _QUANTIZED.get(config.quantization, 1.0))
    cache = buffers = 0
    if config.backend == "llama_cpp":
        if header is not None and header.main_type in _REPACKED:
            weights = int(size * _REPACKING)
        buffers = _buffers(header)
    # A GGUF file without a header will not be loaded; the engine says why better than any figure.
    unusable = path.suffix == ".gguf" and header is None
    if size and not unusable and not _embeds(config, header):
        cache = cells(config, header) * cell_bytes(header)
    total = costs.process + weights + adapters + cache + buffers
    parameters = header.parameters if header is not None else _parameters(config, size)
    return Estimate(total, cache, weights, parameters)


def _embeds(config: EngineConfig, header: GgufHeader | None) -> bool:
    """Embedding models have no cache of keys and values."""
    if config.kind != "auto":
        return config.kind == "embedding"
    return header is not None and gguf_facts(header).embedding


def _parameters(config: EngineConfig, size: int) -> int:
    """Of a folder with weights of 16 bits, as most are; those quantized already have no smaller form."""
    return size // 2 if config.quantization == "none" else 0


def size_of(path: Path) -> int:
    """Bytes of a file, of all its parts (``…-00001-of-00003.gguf``), or of all files in a folder."""
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        stem, marker, _ = path.name.partition("-00001-of-")
        parts = path.parent.glob(f"{stem}-*-of-*{path.suffix}") if marker else [path]
        return sum(part.stat().st_size for part in parts)
    except OSError:
        return 0


def cells(config: EngineConfig, header: GgufHeader | None) -> int:
    """Tokens that the cache holds, as llama.cpp's loader computes them; the others' are close to it."""
    trained = _of_architecture(header, "context_length") or _DEFAULT_CONTEXT
    length = config.context_length or min(trained, _DEFAULT_CONTEXT)
    usual = min(config.max_sequences * _DEFAULT_CELLS_PER_SEQUENCE, 2 * _DEFAULT_CONTEXT)
    return max(length, config.kv_cells or usual)


def cell_bytes(header: GgufHeader | None) -> int:
    """Keys and values of one token, all layers together, 16 bits each."""
    layers = _of_architecture(header, "block_count")
    heads = _of_architecture(header, "attention.head_count")
    if not layers or not heads:
        return _UNKNOWN_CELL_BYTES
    kv_heads = _of_architecture(header, "attention.head_count_kv") or heads
    width = _of_architecture(header, "embedding_length") // heads
    key = _of_architecture(header, "attention.key_length") or width
    value = _of_architecture(header, "attention.value_length") or width
    return layers * kv_heads * (key + value) * _KEY_VALUE_BYTES


def _buffers(header: GgufHeader | None) -> int:
    tokens = header.lengths.get("tokenizer.ggml.tokens", 0) if header is not None else 0
    return tokens * (_BATCH_ROWS * _LOGIT_BYTES + _VOCABULARY_BYTES)


def _of_architecture(header: GgufHeader | None, key: str) -> int:
    return 0 if header is None else header.whole(f"{header.text('general.architecture')}.{key}")


def _header(path: Path) -> GgufHeader | None:
    if path.suffix != ".gguf":
        return None
    try:
        return read_header(path)
    except (BadHeader, OSError):
        return None
