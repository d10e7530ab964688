"""What every backend does alike with its adapters: which there are, and that each is loaded once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

from ai_core.engine.backends.adapter_port import BadAdapter
from ai_core.engine.messages import AdapterFile

Weights = TypeVar("Weights")


class AdapterShelf(ABC, Generic[Weights]):
    """The part of ``backends.adapter_port.Adapters`` that does not depend on what weights are."""

    def __init__(self, files: Iterable[AdapterFile] = ()) -> None:
        """``files`` can be named from the start; they are loaded at their first use."""
        self._files = {file.name: file for file in files}
        self._loaded: dict[str, Weights] = {}
        self._broken: dict[str, str] = {}

    @abstractmethod
    def _read(self, path: Path, scale: float) -> Weights:
        """An adapter's weights. Raises BadAdapter, OSError."""

    def names(self) -> tuple[str, ...]:
        return tuple(self._files)

    def prepare(self, name: str) -> None:
        if name in self._loaded:
            return
        if name in self._broken:
            raise BadAdapter(self._broken[name])
        try:
            self._loaded[name] = self._load(self._files[name])
        except BadAdapter as error:
            self._broken[name] = str(error)
            raise

    def add(self, file: AdapterFile) -> None:
        if file.name in self._files:
            raise BadAdapter(f"there is an adapter named '{file.name}' already; unload it first")
        self._loaded[file.name] = self._load(file)
        self._files[file.name] = file

    def _take_out(self, name: str) -> Weights | None:
        """Forget an adapter; its weights, if they were loaded. Raises KeyError."""
        del self._files[name]
        self._broken.pop(name, None)
        return self._loaded.pop(name, None)

    def _load(self, file: AdapterFile) -> Weights:
        try:
            return self._read(Path(file.path), file.scale)
        except BadAdapter as error:
            raise BadAdapter(f"the adapter '{file.name}' cannot be used: {error}") from error
        except OSError as error:
            reason = f"{error.filename or file.path}: {error.strerror or error}"
            raise BadAdapter(f"the adapter '{file.name}' cannot be read ({reason})") from error
