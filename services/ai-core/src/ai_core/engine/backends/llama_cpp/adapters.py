"""The LoRA adapters of one model: loaded at first use, applied to a context, unloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import llama_cpp.llama_cpp as lib

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.backends.adapter_shelf import AdapterShelf
from ai_core.engine.backends.llama_cpp.adapter_source import BaseModel, gguf_of
from ai_core.engine.backends.llama_cpp.context import Context, LoraPointer
from ai_core.engine.backends.llama_cpp.logs import errors_said
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.messages import AdapterFile

_SHOWN_REASON = 300


class LoraAdapters(AdapterShelf[LoraPointer]):
    """Implements ``backends.adapter_port.Adapters``."""

    def __init__(self, model: Model, context: Context, removed: Callable[[str], None]) -> None:
        """``removed`` is called with the name of an adapter that is gone."""
        super().__init__()
        self._model = model
        self._context = context
        self._removed = removed
        self._converted: Path | None = None
        self._active = ""

    def offer(self, files: Iterable[AdapterFile], converted: Path | None = None) -> None:
        """Make adapters known, which are loaded at their first use.

        Args:
            converted: a folder that keeps what was converted; None: every process converts anew.
        """
        self._files.update((file.name, file) for file in files)
        self._converted = converted

    def remove(self, name: str) -> None:
        if self._active == name:
            self.use("")
        pointer = self._take_out(name)
        if pointer is not None:
            lib.llama_adapter_lora_free(pointer)
        self._removed(name)

    def use(self, name: str) -> None:
        """Compute with this adapter from now on; empty: with none."""
        if name == self._active:
            return
        if name:
            self._context.use_adapter(self._loaded[name], self._files[name].scale)
        else:
            self._context.use_adapter(None)
        self._active = name

    def close(self) -> None:
        """Give everything back; before the context and the model are closed."""
        for name in list(self._files):
            self.remove(name)

    def _read(self, path: Path, scale: float) -> LoraPointer:
        """Its scale counts when it is used."""
        with gguf_of(path, _base_of(self._model), self._converted) as file, errors_said() as errors:
            pointer: LoraPointer = lib.llama_adapter_lora_init(self._model.pointer, str(file).encode())
        # A null pointer is an object, too.
        if not pointer:
            reason = "; ".join(errors)[:_SHOWN_REASON] or "it does not fit the model"
            raise BadAdapter(f"llama.cpp refuses it ({reason})")
        return pointer


def _base_of(model: Model) -> BaseModel:
    return BaseModel(
        model.metadata("general.architecture") or "",
        heads=int(lib.llama_model_n_head(model.pointer)),
        kv_heads=int(lib.llama_model_n_head_kv(model.pointer)),
    )
