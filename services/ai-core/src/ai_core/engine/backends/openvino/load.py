"""From an engine's configuration to an OpenVINO backend."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import openvino as ov
import openvino_genai as genai

from ai_core.engine.backends.gguf_file import BadGguf
from ai_core.engine.backends.hf_vocabulary import HfVocabulary, read_json
from ai_core.engine.backends.hf_vocabulary import vocabulary_of as vocabulary_of_folder
from ai_core.engine.backends.loading import CannotLoad, Loaded
from ai_core.engine.backends.openvino.backend import OpenVinoBackend
from ai_core.engine.backends.openvino.conversion import MANIFEST, converted, is_prepared
from ai_core.engine.backends.openvino.gguf_model import read_gguf
from ai_core.engine.backends.openvino.gguf_vocabulary import vocabulary_of
from ai_core.engine.backends.openvino.graph import vocabulary_size
from ai_core.engine.backends.openvino.held import BLOCK
from ai_core.engine.backends.openvino.lora import Lora
from ai_core.engine.backends.openvino.prepare import LINEARS_FILE, MODEL_FILE
from ai_core.engine.backends.openvino.prepared import prepared
from ai_core.engine.backends.openvino.shapes import WEIGHTS, unsupported
from ai_core.engine.backends.openvino.slices import STEP, Sizes, Slicing
from ai_core.engine.backends.openvino.steering import Steering
from ai_core.engine.messages import EngineConfig

DEFAULT_CONTEXT = 8_192
"""Longest context that is taken unasked."""
DEFAULT_CELLS_PER_SEQUENCE = 1_024
_CONVERTED, _PREPARED = 0.8, 0.9
"""Shares of a first load's progress after which the model is converted, and prepared."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a model's files say of it."""

    vocabulary: HfVocabulary
    trained_context: int
    description: str
    parameters: int
    size: int
    """Bytes of the weights on the disk."""


def load(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded:
    """Prepare the model if that was not done before, and compile it.

    The precision is the processor's favourite one (BF16 where it has it), unless the configuration says F32.

    Raises:
        CannotLoad: the model or the configuration cannot be served.
    """
    if config.device not in ("auto", "cpu"):
        raise CannotLoad(
            f"device '{config.device}' is not served by this backend: OpenVINO computes on the CPU here"
        )
    if config.kind == "embedding":
        raise CannotLoad("embedding models are served by llama.cpp")
    path = Path(config.model_path)
    if path.is_dir() and not (path / MODEL_FILE).is_file():
        path = converted(path, config, lambda share: on_progress(share * _CONVERTED))
    source = _source(path)
    length = context_length(config.context_length, source.trained_context)
    cells = kv_cells(config.kv_cells, length, config.max_sequences)
    on_progress(_CONVERTED)
    with tempfile.TemporaryDirectory() as unkept:
        folder = path
        if config.adapters or not is_prepared(path):
            kept = Path(config.converted_models or unkept)
            folder = prepared(path, kept, adapters=bool(config.adapters))
        on_progress(_PREPARED)
        pipeline, vocabulary = _compile(folder, config, cells)
        linears = _linears(folder)
    backend = OpenVinoBackend(
        pipeline,
        Sizes(vocabulary, min(length, cells), config.max_sequences, cells),
        ends=frozenset(token for token in source.vocabulary.end_tokens if token < vocabulary),
        slicing=Slicing(fixed=config.prefill_chunk, itl_target_ms=config.itl_target_ms),
        linears=linears,
        adapters=config.adapters,
    )
    backend.coalesces = config.coalescing
    on_progress(1.0)
    facts = (source.description, source.parameters, source.size)
    return Loaded(backend, source.vocabulary, *facts, backend.adapters)


def context_length(wanted: int, trained: int) -> int:
    """Tokens per sequence: what is asked for, or what the model was trained for up to a default.

    Raises:
        CannotLoad: more is asked for than the model was trained for.
    """
    if trained and wanted > trained:
        raise CannotLoad(f"context_length {wanted} is more than the model's {trained} tokens")
    return wanted or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def kv_cells(wanted: int, length: int, max_sequences: int) -> int:
    """Cells of the cache in whole blocks: at least one full sequence."""
    cells = max(length, wanted or min(max_sequences * DEFAULT_CELLS_PER_SEQUENCE, 2 * DEFAULT_CONTEXT))
    return -(-cells // BLOCK) * BLOCK


def _source(path: Path) -> Source:
    return _folder(path) if path.is_dir() else _gguf(path)


def _gguf(path: Path) -> Source:
    try:
        model = read_gguf(path)
    except BadGguf as error:
        raise CannotLoad(f"{path} is not a usable GGUF file: {error}") from error
    except OSError as error:
        raise CannotLoad(f"{path} cannot be read ({error.strerror})") from error
    if (reason := unsupported(model)) is not None:
        raise CannotLoad(f"{path} {reason}")
    types = {WEIGHTS[type_] for type_ in model.tensors.values() if type_ in WEIGHTS}
    return Source(
        vocabulary_of(model.metadata, str(path)),
        int(model.of_architecture("context_length") or 0),
        f"{model.architecture} {'+'.join(sorted(types))}",
        model.parameters,
        model.size,
    )


def _folder(path: Path) -> Source:
    weights = path / MODEL_FILE
    if not weights.is_file():
        raise CannotLoad(f"{path} is no model in OpenVINO's form: it has no {MODEL_FILE}")
    described = read_json(path / "config.json")
    trained = described.get("max_position_embeddings")
    size = weights.with_suffix(".bin").stat().st_size
    kind = described.get("model_type") or "model"
    return Source(
        vocabulary_of_folder(path),
        trained if isinstance(trained, int) else 0,
        f"{kind} in OpenVINO's form{_stored(path)}",
        0,
        size,
    )


def _linears(folder: Path) -> dict[str, tuple[int, int]]:
    """What of the graph can be adapted; see ``prepare``."""
    described = json.loads((folder / LINEARS_FILE).read_bytes())
    return {name: (into, out) for name, into, out in described}


def _stored(path: Path) -> str:
    """How the weights of a converted model are stored, for a person."""
    form = read_json(path / MANIFEST).get("form")
    return f", {form}" if isinstance(form, str) else ""


def _compile(folder: Path, config: EngineConfig, cells: int) -> tuple[genai.ContinuousBatchingPipeline, int]:
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = cells // BLOCK
    scheduler.max_num_seqs = config.max_sequences
    scheduler.max_num_batched_tokens = max(STEP, config.max_sequences)
    scheduler.dynamic_split_fuse = True
    scheduler.enable_prefix_caching = True
    properties: dict[str, object] = {
        "INFERENCE_NUM_THREADS": config.threads or len(os.sched_getaffinity(0)),
        # Two engines that pin their threads would pin them to the same cores.
        "ENABLE_CPU_PINNING": False,
        "extensions": [Steering, Lora],
    }
    if config.precision == "f32":
        properties |= {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    elif config.kv_type != "auto":
        properties["KV_CACHE_PRECISION"] = config.kv_type
    try:
        core = ov.Core()
        core.add_extension(Steering)
        core.add_extension(Lora)
        vocabulary = vocabulary_size(core.read_model(folder / MODEL_FILE))
        pipeline = genai.ContinuousBatchingPipeline(folder, scheduler, "CPU", properties)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:500]
        raise CannotLoad(f"OpenVINO cannot load {config.model_path}: {reason}") from error
    return pipeline, vocabulary
