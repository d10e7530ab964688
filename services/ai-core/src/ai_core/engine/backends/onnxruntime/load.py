"""From an engine's configuration to onnxruntime-genai behind the backend port."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og

from ai_core.engine.backends.hf_vocabulary import vocabulary_of
from ai_core.engine.backends.loading import CannotLoad, Loaded
from ai_core.engine.backends.one_at_a_time.backend import OneAtATime, Traits
from ai_core.engine.backends.one_at_a_time.lengths import context_length
from ai_core.engine.backends.one_at_a_time.stepper import StepFailed
from ai_core.engine.backends.onnxruntime.folder import OnnxFolder, open_folder
from ai_core.engine.backends.onnxruntime.stepper import OnnxStepper, reason_of
from ai_core.engine.messages import EngineConfig

ENGINE = "onnxruntime-genai"
_FATAL_ONLY = 4
"""Severity of onnxruntime's own log: what matters is in the exceptions."""


def load(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded:
    """Check the folder, and load its weights.

    Raises:
        CannotLoad: the folder or the configuration cannot be served.
    """
    # What is not switched off here would go to its maker.
    og.disable_telemetry_events()
    _refuse_options(config)
    folder = open_folder(Path(config.model_path))
    vocabulary = vocabulary_of(folder.path, folder.end_tokens)
    length = context_length(config.context_length, folder.trained_context)
    on_progress(0.0)
    stepper, width = _load_weights(folder, config, length)
    if vocabulary.size > width:
        raise CannotLoad(
            f"{folder.path} has a tokenizer of {vocabulary.size} tokens and a model of {width}: they do not "
            "belong together"
        )
    traits = Traits(
        engine=ENGINE,
        context_length=length,
        vocabulary=width,
        end_tokens=vocabulary.end_tokens,
        missing=frozenset({"adapter"}),
    )
    on_progress(1.0)
    return Loaded(
        OneAtATime(stepper, traits),
        vocabulary,
        f"{folder.model_type} ONNX",
        weights_bytes=folder.weights_bytes,
    )


def _refuse_options(config: EngineConfig) -> None:
    if config.adapters:
        raise CannotLoad("ONNX models are served without LoRA adapters: remove 'adapters' from the entry")
    if config.quantization != "none":
        raise CannotLoad(
            f"an ONNX model cannot be quantized to '{config.quantization[:40]}' while it is loaded: set "
            "'quantization' to 'none', and export it so (onnxruntime_genai.models.builder -p int4)"
        )


def _load_weights(folder: OnnxFolder, config: EngineConfig, length: int) -> tuple[OnnxStepper, int]:
    """The engine, and how many logits it gives."""
    threads = config.threads or len(os.sched_getaffinity(0))
    try:
        settings: Any = og.Config(str(folder.path))
        settings.overlay(_session(threads))
        if config.device != "auto":
            settings.clear_providers()
        if config.device not in {"auto", "cpu"}:
            settings.append_provider(config.device)
        stepper = OnnxStepper(og.Model(settings), length)
        # One token shows whether this is a model that continues texts at all.
        logits = stepper.feed(np.zeros(1, np.int32))
    except (RuntimeError, StepFailed) as error:
        raise CannotLoad(f"onnxruntime cannot load {folder.path}: {reason_of(error)}") from error
    stepper.rewind(0)
    return stepper, len(logits)


def _session(threads: int) -> str:
    options = {
        "intra_op_num_threads": threads,
        "log_severity_level": _FATAL_ONLY,
        # Threads that wait for the next step by spinning would take the cores from other engines.
        "session.force_spinning_stop": "1",
    }
    return json.dumps({"model": {"decoder": {"session_options": options}}})
