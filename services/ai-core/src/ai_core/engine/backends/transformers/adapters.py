"""PEFT's LoRA adapters on a model in memory (the port is ``backends.adapter_port.Adapters``)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.messages import AdapterFile

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""PEFT wraps a model twice before it saves its adapters."""
_DOWN, _UP, _MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"

Weights = dict[str, torch.Tensor]


@dataclass(slots=True)
class _Adapter:
    file: AdapterFile
    key: str
    """Its name in PEFT, which takes no dots."""
    loaded: bool = False
    problem: str = ""
    """Why it could not be loaded, once that was tried."""


class PeftAdapters:
    """Loads each adapter once, at its first use, and switches between them.

    Args:
        model: gets further layers beside its own; without a selected adapter they change nothing.
        files: adapters known from the start.
    """

    def __init__(self, model: PreTrainedModel, files: Iterable[AdapterFile]) -> None:
        self._model = model
        self._keys = (f"adapter{number}" for number in itertools.count())
        self._adapters = {file.name: _Adapter(file, next(self._keys)) for file in files}
        self._selected = ""
        self.on_remove: Callable[[str], None] = lambda _name: None
        """Called with an adapter's name before it is unloaded: what was computed with it is worthless."""

    def names(self) -> tuple[str, ...]:
        return tuple(self._adapters)

    def prepare(self, name: str) -> None:
        adapter = self._adapters[name]
        if adapter.problem:
            raise BadAdapter(adapter.problem)
        if not adapter.loaded:
            try:
                self._load(adapter)
            except BadAdapter as error:
                adapter.problem = str(error)
                raise

    def add(self, file: AdapterFile) -> None:
        if file.name in self._adapters:
            raise BadAdapter(f"this model has an adapter '{file.name}' already; unload it first")
        adapter = _Adapter(file, next(self._keys))
        self._load(adapter)
        self._adapters[file.name] = adapter

    def remove(self, name: str) -> None:
        adapter = self._adapters.pop(name)
        self.on_remove(name)
        if adapter.loaded:
            _lora().take_out(self._model, adapter.key)

    def select(self, name: str) -> None:
        """Compute with this adapter from now on; empty: with none."""
        if name:
            self.prepare(name)
        if name != self._selected:
            _lora().switch(self._model, self._adapters[name].key if name else "")
            self._selected = name

    def _load(self, adapter: _Adapter) -> None:
        name, folder = adapter.file.name, Path(adapter.file.path)
        _check_config(name, folder)
        weights = _read_weights(name, folder)
        _check_fit(name, weights, self._model)
        lora = _lora()
        try:
            lora.put_in(self._model, adapter.key, folder, weights, adapter.file.scale)
        except Exception as error:  # PEFT raises whatever it meets
            lora.take_out(self._model, adapter.key)
            message = f"the adapter '{name}' cannot be used with this model: {_line(error)}"
            raise BadAdapter(message) from error
        finally:
            # PEFT switches to what it has just put in.
            lora.switch(self._model, self._adapters[self._selected].key if self._selected else "")
        adapter.loaded = True


def _lora() -> ModuleType:
    """PEFT's part, imported at its first use."""
    return import_module("ai_core.engine.backends.transformers.lora")


def _check_config(name: str, folder: Path) -> None:
    if not folder.is_dir():
        raise BadAdapter(f"the adapter '{name}' must be a folder of PEFT's, and {folder} is none")
    try:
        stated = json.loads((folder / CONFIG_FILE).read_bytes())
    except FileNotFoundError as error:
        raise BadAdapter(f"the adapter '{name}' has no {CONFIG_FILE} in {folder}") from error
    except (OSError, ValueError) as error:
        raise BadAdapter(f"{folder / CONFIG_FILE} cannot be read: {_line(error)}") from error
    kind = stated.get("peft_type") if isinstance(stated, dict) else None
    if kind != "LORA":
        raise BadAdapter(f"the adapter '{name}' is of type {str(kind)[:40]}; only LORA can be used")
    if stated.get("modules_to_save"):
        raise BadAdapter(f"the adapter '{name}' replaces whole modules of its model; only LoRA is taken")


def _read_weights(name: str, folder: Path) -> Weights:
    path = folder / WEIGHTS_FILE
    try:
        weights: Weights = load_file(path)
    except FileNotFoundError as error:
        raise BadAdapter(f"the adapter '{name}' has no {WEIGHTS_FILE} in {folder}") from error
    except (SafetensorError, OSError) as error:
        raise BadAdapter(f"{path} is no whole safetensors file: {_line(error)}") from error
    return weights


def _check_fit(name: str, weights: Weights, model: Any) -> None:
    """Whether each weight has its place in this model, before anything is changed there.

    Raises:
        BadAdapter: the adapter was made for another model.
    """
    pairs = 0
    for key, tensor in weights.items():
        stem = key.removeprefix(_PREFIX)
        if stem.endswith((_DOWN, _UP)):
            place = stem.removesuffix(_DOWN).removesuffix(_UP)
            inside, width = (1, "in_features") if stem.endswith(_DOWN) else (0, "out_features")
            try:
                expected = getattr(model.get_submodule(place), width, None)
            except AttributeError:
                expected = None
            if expected is None:
                raise BadAdapter(
                    f"the adapter '{name}' was made for another model: this one has no '{place[:80]}'"
                )
            if tensor.dim() != 2 or tensor.shape[inside] != expected:
                raise BadAdapter(
                    f"the adapter '{name}' was made for another model: its weights for '{place[:80]}' have "
                    f"shape {list(tensor.shape)}, and this model's layer is {expected} wide there"
                )
            pairs += 1
        elif not stem.endswith(_MAGNITUDE):
            raise BadAdapter(f"the adapter '{name}' holds weights that are no LoRA: {key[:120]}")
    if not pairs:
        raise BadAdapter(f"the adapter '{name}' holds no LoRA weights")


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
