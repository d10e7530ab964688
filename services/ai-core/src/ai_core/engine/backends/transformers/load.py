"""From an engine's configuration to transformers behind the backend port."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ai_core.engine.backends.cpu import cpu_flags
from ai_core.engine.backends.hf_vocabulary import HfVocabulary
from ai_core.engine.backends.loading import CannotLoad, Loaded
from ai_core.engine.backends.one_at_a_time.backend import OneAtATime, Traits
from ai_core.engine.backends.one_at_a_time.lengths import context_length
from ai_core.engine.backends.transformers.adapters import PeftAdapters
from ai_core.engine.backends.transformers.folder import ModelFolder
from ai_core.engine.backends.transformers.numbers import computed_in
from ai_core.engine.backends.transformers.quantization import quantization_config
from ai_core.engine.backends.transformers.stepper import TorchStepper
from ai_core.engine.messages import EngineConfig

ENGINE = "transformers"
KEYS_SHOWN = 3


def load(
    config: EngineConfig, folder: ModelFolder, vocabulary: HfVocabulary, on_progress: Callable[[float], None]
) -> Loaded:
    """Load the weights of a folder that was looked at already.

    Raises:
        CannotLoad: the folder or the configuration cannot be served.
    """
    # Their loggers tell of every layer; what matters is in the exceptions.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    length = context_length(config.context_length, folder.trained_context)
    torch.set_num_threads(config.threads or len(os.sched_getaffinity(0)))
    device = _device(config.device)
    with _progress_to(on_progress):
        model = _load_weights(folder, config, device)
    width = _vocabulary_size(model, folder)
    if vocabulary.size > width:
        raise CannotLoad(
            f"{folder.path} has a tokenizer of {vocabulary.size} tokens and a model of {width}: they do not "
            "belong together"
        )
    adapters = PeftAdapters(model, config.adapters)
    stepper = TorchStepper(model, adapters)
    traits = Traits(
        engine=ENGINE,
        context_length=length,
        vocabulary=width,
        end_tokens=vocabulary.end_tokens,
        keeps_prefix=stepper.can_be_cut,
    )
    backend = OneAtATime(stepper, traits, adapters.names)
    adapters.on_remove = backend.forget
    on_progress(1.0)
    measured: Any = model
    parameters = int(measured.num_parameters())
    return Loaded(
        backend,
        vocabulary,
        _description(folder, parameters, model, config.quantization),
        parameters,
        int(measured.get_memory_footprint()),
        adapters=adapters,
    )


def _load_weights(folder: ModelFolder, config: EngineConfig, device: torch.device) -> PreTrainedModel:
    if folder.own_code and not config.trust_remote_code and not _is_known(folder.model_type):
        raise CannotLoad(
            f"{folder.path} brings Python code of its own for its architecture '{folder.model_type}', which "
            'is not run unless the model\'s entry says "trust_remote_code": true'
        )
    dtype = getattr(torch, computed_in(folder.stored_type, str(device), cpu_flags()))
    # Its annotations know nothing of output_loading_info.
    auto: Any = AutoModelForCausalLM
    try:
        model, report = auto.from_pretrained(
            folder.path,
            dtype=dtype,
            device_map={"": device},
            quantization_config=quantization_config(config.quantization, dtype),
            trust_remote_code=config.trust_remote_code,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except CannotLoad:
        raise
    except Exception as error:  # whatever the library, or the model's own code, raises
        reason = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        raise CannotLoad(f"transformers cannot load {folder.path}: {reason}") from error
    missing = sorted(str(key) for key in report["missing_keys"])
    if missing:
        some = ", ".join(missing[:KEYS_SHOWN])
        raise CannotLoad(
            f"{folder.path} lacks {len(missing)} of the model's tensors ({some}): fetch it again"
        )
    loaded: PreTrainedModel = model.eval()
    return loaded


def _is_known(model_type: str) -> bool:
    return model_type in CONFIG_MAPPING


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise CannotLoad(f"torch cannot compute on the device '{wanted[:40]}': {reason}") from error
    return device


def _vocabulary_size(model: PreTrainedModel, folder: ModelFolder) -> int:
    embeddings = model.get_input_embeddings()
    size = getattr(embeddings, "num_embeddings", None) or folder.text_config.get("vocab_size")
    if not isinstance(size, int):
        raise CannotLoad(f"{folder.path} does not say how large its vocabulary is ('vocab_size')")
    return size


def _description(folder: ModelFolder, parameters: int, model: PreTrainedModel, quantization: str) -> str:
    numbers = str(model.dtype).removeprefix("torch.") if quantization == "none" else quantization
    return f"{folder.model_type} {parameters / 1e6:.2f}M {numbers}"


class _Bar:
    """Stands for a progress bar, and tells somebody else."""

    def __init__(self, on_progress: Callable[[float], None], things: Any, total: int) -> None:
        self._on_progress = on_progress
        self._things = things
        self._total = total
        self._done = 0

    def __iter__(self) -> Iterator[Any]:
        for thing in self._things:
            yield thing
            self.update()

    def update(self, count: int = 1) -> None:
        self._done += count
        if self._total:
            # 1.0 means that requests can be served, and is said at the end of loading.
            self._on_progress(min(0.99, self._done / self._total))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        return None

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments, **_options: None


@contextmanager
def _progress_to(on_progress: Callable[[float], None]) -> Iterator[None]:
    """Lead transformers' progress bars elsewhere."""

    def bar(_factory: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> _Bar:
        things = arguments[0] if arguments else options.get("iterable") or ()
        return _Bar(on_progress, things, options.get("total") or len(things))

    before = transformers_logging.set_tqdm_hook(bar)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(before)
