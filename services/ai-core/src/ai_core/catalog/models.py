"""The catalog: an immutable list of models, and the rule that finds one by a caller's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ai_core.errors import ModelNotFound

ModelType = Literal["gguf", "transformers", "onnx", "remote"]
EngineChoice = Literal["auto", "llama.cpp", "openvino", "transformers", "onnxruntime"]
ModelKind = Literal["auto", "generation", "embedding"]
ModelPooling = Literal["auto", "mean", "cls", "last"]
MAX_NAMES_SHOWN = 10
MAX_NAME_ECHO = 80


class CatalogError(Exception):
    """The models cannot be served as configured; the text says what to change."""


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """A LoRA adapter of one model: a GGUF file, or a folder of PEFT's."""

    name: str
    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class HubSource:
    """Where a model can be fetched from."""

    repository: str
    """``owner/name``."""
    pattern: str = ""
    """Of file names, e.g. ``*q4_k_m.gguf``; empty: what the type needs."""
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class UpstreamEntry:
    """A server with OpenAI's API that answers for a model of type ``remote``."""

    url: str
    model: str = ""
    """Its name there; empty: as here."""
    key_file: Path | None = None
    """Holds its API key."""
    timeout: float = 120.0
    """Seconds without a byte."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model that this server offers. Zeros mean "the default", as in the settings."""

    name: str
    path: Path
    """The file or folder. Of a model from the hub: the folder in which it lies once it is fetched
    (``catalog.places``). Of a remote one: nothing is read there."""
    type: ModelType = "gguf"
    engine: EngineChoice = "auto"
    hub: HubSource | None = None
    upstream: UpstreamEntry | None = None
    adapters: tuple[AdapterEntry, ...] = ()
    context_length: int = 0
    threads: int = 0
    device: str = "auto"
    quantization: str = "none"
    """``none``, ``int8`` or ``4bit``; of GGUF from the hub also a name such as ``Q4_K_M`` to prefer."""
    max_memory: int = 0
    """Bytes; 0: as much as the budget allows."""
    max_sequences: int = 0
    keep_alive: float | None = None
    """Seconds that it stays resident unused; negative: for ever; None: the server's default."""
    pinned: bool = False
    """Never put out of memory."""
    preload: bool = False
    """Loaded when the server starts."""
    weight: float = 1.0
    """How much its loads count when room is needed: the higher, the longer it stays."""
    sampling: Mapping[str, float | int] = field(default_factory=dict)
    """Defaults for requests that leave these fields out, by the API's names."""
    system_prompt: str = ""
    """Put first where a conversation has no system message."""
    chat_template: str | None = None
    """Jinja, instead of the model's own."""
    trust_remote_code: bool = False
    aliases: tuple[str, ...] = ()
    fallback: str = ""
    """Another model, which answers while this one is parked."""
    kind: ModelKind = "auto"
    """``auto``: what the file's metadata says when it is loaded."""
    pooling: ModelPooling = "auto"
    """Of an embedding model."""
    matryoshka: bool = False
    """An embedding model's vectors may be shortened."""


class Catalog:
    """All models of this server, by name and alias, and the one for requests that name none.

    Raises:
        CatalogError: no models, two models of one name, or a default or fallback that does not exist.
    """

    def __init__(self, entries: list[ModelEntry], default: str | None = None) -> None:
        self._by_name = _index(entries)
        self.entries = tuple(entries)
        if not entries:
            raise CatalogError("The models file lists no models.")
        chosen = self._by_name.get(default or first_choice(entries).name)
        if chosen is None:
            raise CatalogError(f"The default model '{default}' is not among the models: {self.names()}.")
        self.default = chosen
        for entry in entries:
            if entry.fallback and entry.fallback not in self._by_name:
                raise CatalogError(
                    f"'{entry.fallback}', the fallback of '{entry.name}', is not among the models."
                )

    def resolve(self, name: str | None) -> ModelEntry:
        """The model that a request means. Raises ModelNotFound."""
        if name is None:
            return self.default
        entry = self._by_name.get(name)
        if entry is None:
            raise unknown_model(name, self.entries)
        return entry

    def stand_ins(self, entry: ModelEntry) -> list[ModelEntry]:
        """Who answers while a model is out of service: its fallback, that one's fallback, and so on."""
        found = [entry]
        while found[-1].fallback:
            behind = self._by_name[found[-1].fallback]
            if behind in found:
                break
            found.append(behind)
        return found[1:]

    def names(self) -> str:
        """The models for a message to a person."""
        return _names(self.entries)


def unknown_model(name: str, entries: Sequence[ModelEntry]) -> ModelNotFound:
    """What is said to who asks for a model that is not among these."""
    shown = name if len(name) <= MAX_NAME_ECHO else name[:MAX_NAME_ECHO] + "…"
    return ModelNotFound(f"There is no model '{shown}' here. Models: {_names(entries)}.", parameter="model")


def first_choice(entries: Sequence[ModelEntry]) -> ModelEntry:
    """The first one that can answer, as far as the catalog knows."""
    return next((entry for entry in entries if entry.kind != "embedding"), entries[0])


def _names(entries: Sequence[ModelEntry]) -> str:
    names = [entry.name for entry in entries]
    more = ", …" if len(names) > MAX_NAMES_SHOWN else ""
    return ", ".join(names[:MAX_NAMES_SHOWN]) + more


def _index(entries: list[ModelEntry]) -> Mapping[str, ModelEntry]:
    by_name: dict[str, ModelEntry] = {}
    for entry in entries:
        for name in (entry.name, *entry.aliases):
            if name in by_name:
                raise CatalogError(f"Two models are called '{name}'.")
            by_name[name] = entry
    return by_name
