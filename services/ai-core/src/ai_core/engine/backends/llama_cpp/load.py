"""From an engine's configuration to a llama.cpp backend."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ai_core.engine.backends.embedding_port import Pooling
from ai_core.engine.backends.llama_cpp.backend import LlamaCppBackend
from ai_core.engine.backends.llama_cpp.context import MAX_SEQUENCE_IDS, Context, ContextSettings, KvType
from ai_core.engine.backends.llama_cpp.embedder import LlamaCppEmbedder
from ai_core.engine.backends.llama_cpp.kernels import HEAD_WIDTH_STEP, load_kernels, load_processor_code
from ai_core.engine.backends.llama_cpp.kind import Embedding, kind_of
from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import Model, ModelError
from ai_core.engine.backends.llama_cpp.scheduler import Limits
from ai_core.engine.backends.loading import CannotLoad, Loaded, LoadedEmbedder
from ai_core.engine.messages import EngineConfig

DEFAULT_CONTEXT = 8_192
"""Longest context that is taken unasked: its cells cost memory from the start."""
DEFAULT_EMBEDDING_CONTEXT = 2_048
"""The same for embedding models: memory for one text of this length is taken from the start."""
DEFAULT_CELLS_PER_SEQUENCE = 1_024
CACHED_PREFIXES = 64
"""Sequence ids for prefixes of finished sequences."""
_TRANSIT_IDS = 1
_CELL_STEP = 256


def load(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded | LoadedEmbedder:
    """Load the weights and create the context.

    Raises:
        CannotLoad: the file or the configuration cannot be served.
    """
    forward_llama_logs(config.log_level)
    load_processor_code()
    kernels = config.kernels == "auto" and load_kernels()
    try:
        model = Model(Path(config.model_path), on_progress)
        kind = kind_of(model.metadata, config)
        if isinstance(kind, Embedding):
            return _embedder(model, kind.pooling, config)
        return _generator(model, config, kernels=kernels)
    except ModelError as error:
        raise CannotLoad(str(error)) from error


def _embedder(model: Model, pooling: Pooling, config: EngineConfig) -> LoadedEmbedder:
    embedder = LlamaCppEmbedder(
        model,
        pooling,
        # CONTEXT_LENGTH is meant for conversations: here it is a bound, not a promise.
        context_length=min(model.trained_context, config.context_length or DEFAULT_EMBEDDING_CONTEXT),
        threads=config.threads or len(os.sched_getaffinity(0)),
        matryoshka=config.matryoshka,
    )
    return LoadedEmbedder(
        embedder, model.vocabulary, model.description, model.parameters, model.weights_bytes
    )


def _generator(model: Model, config: EngineConfig, *, kernels: bool) -> Loaded:
    if not model.has_decoder:
        raise CannotLoad(f"{config.model_path} is no text-generating model")
    length = context_length(config.context_length, model.trained_context)
    sequence_ids = sequence_ids_for(config.max_sequences)
    own_attention = kernels and model.head_width % HEAD_WIDTH_STEP == 0
    settings = ContextSettings(
        kv_cells=kv_cells(config.kv_cells, length, config.max_sequences),
        sequence_ids=sequence_ids,
        threads=config.threads or len(os.sched_getaffinity(0)),
        kv_type=kv_type(config.kv_type, _cpu_flags(), own_attention=own_attention),
    )
    context = Context(model, settings)
    backend = LlamaCppBackend(
        model,
        context,
        sequence_ids=sequence_ids,
        max_sequences=config.max_sequences,
        context_length=min(length, context.cells),
        limits=Limits(
            itl_target_ms=config.itl_target_ms, tiles=settings.kv_type == "f16" and not own_attention
        ),
        pause_bytes=config.pause_bytes,
        own_kernels=own_attention,
    )
    backend.coalesces = config.coalescing
    converted = Path(config.converted_adapters) if config.converted_adapters else None
    backend.adapters.offer(config.adapters, converted)
    facts = (model.description, model.parameters, model.weights_bytes)
    return Loaded(backend, model.vocabulary, *facts, backend.adapters)


def context_length(wanted: int, trained: int) -> int:
    """Tokens per sequence: what is asked for, or what the model was trained for up to a default.

    Raises:
        CannotLoad: more is asked for than the model was trained for.
    """
    if wanted > trained:
        raise CannotLoad(f"context_length {wanted} is more than the model's {trained} tokens")
    return wanted or min(trained, DEFAULT_CONTEXT)


def kv_cells(wanted: int, length: int, max_sequences: int) -> int:
    """Cells of the cache, at least one full sequence, in llama.cpp's steps of 256."""
    cells = max(length, wanted or min(max_sequences * DEFAULT_CELLS_PER_SEQUENCE, 2 * DEFAULT_CONTEXT))
    return -(-cells // _CELL_STEP) * _CELL_STEP


def kv_type(wanted: str, cpu_flags: frozenset[str], *, own_attention: bool) -> KvType:
    """F16 where attention is computed by our own kernels, which take both alike: it is the more exact one.
    On ggml's code, BF16 where the processor multiplies it: attention over a few rows then takes half
    the time of F16's, so streams run faster and long prompts come on faster beside them. A long prompt
    alone is read more slowly, because ggml works in tiles with F16 only.

    Raises:
        CannotLoad: neither a known type nor ``auto``.
    """
    match wanted:
        case "f16" | "bf16":
            return wanted
        case "auto":
            return "bf16" if "avx512_bf16" in cpu_flags and not own_attention else "f16"
    raise CannotLoad(f"kv_type {wanted!r} is none of auto, f16, bf16")


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def sequence_ids_for(max_sequences: int) -> int:
    """Ids for running sequences, cached prefixes and copies in transit, within llama.cpp's limit.

    Raises:
        CannotLoad: more running sequences than llama.cpp has ids.
    """
    if max_sequences + _TRANSIT_IDS > MAX_SEQUENCE_IDS:
        raise CannotLoad(f"max_sequences {max_sequences} is more than {MAX_SEQUENCE_IDS - _TRANSIT_IDS}")
    return min(max_sequences + CACHED_PREFIXES + _TRANSIT_IDS, MAX_SEQUENCE_IDS)
