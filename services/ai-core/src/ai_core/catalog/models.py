"""The catalog: an immutable list of models, and the rule that finds one by a caller's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ai_core.errors import ModelNotFound

ModelKind = Literal["auto", "generation", "embedding"]
ModelPooling = Literal["auto", "mean", "cls", "last"]
MAX_NAMES_SHOWN = 10
MAX_NAME_ECHO = 80


class CatalogError(Exception):
    """The models cannot be served as configured; the text says what to change."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model that this server offers. Zeros mean "the default", as in the settings."""

    name: str
    path: Path
    context_length: int = 0
    threads: int = 0
    aliases: tuple[str, ...] = ()
    kind: ModelKind = "auto"
    """``auto``: what the file's metadata says when it is loaded."""
    pooling: ModelPooling = "auto"
    """Of an embedding model."""
    matryoshka: bool = False
    """An embedding model's vectors may be shortened."""


class Catalog:
    """All models of this server, by name and alias, and the one for requests that name none.

    Raises:
        CatalogError: no models, two models of one name, or a default that does not exist.
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

    def resolve(self, name: str | None) -> ModelEntry:
        """The model that a request means. Raises ModelNotFound."""
        if name is None:
            return self.default
        entry = self._by_name.get(name)
        if entry is None:
            raise unknown_model(name, self.entries)
        return entry

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
