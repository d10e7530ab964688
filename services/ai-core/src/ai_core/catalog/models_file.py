"""The models file, ``models.json``: from its text to a catalog. Pure; no file is opened here.

::

    {"models": {"name": {"type": "gguf", "path": "file.gguf", "context_length": 4096,
                         "threads": 4, "aliases": ["other name"]},
                "larger": {"type": "transformers", "path": "owner/name", "quantization": "4bit",
                           "max_memory": "8GB", "keep_alive": "10m", "fallback": "name"}},
     "default_model": "name"}

:mod:`.models_shape` has all fields; the README of this service explains them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic_core
from pydantic import ValidationError

from ai_core.catalog.json_lines import KeyTwice, Place, lines_in, nearest_line
from ai_core.catalog.models import (
    AdapterEntry,
    Catalog,
    CatalogError,
    HubSource,
    ModelEntry,
    UpstreamEntry,
)
from ai_core.catalog.models_shape import Model, ModelsFile
from ai_core.catalog.places import hub_folder

_HUB_PATH = re.compile(r"([A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95})(?::(.+))?", re.ASCII)
_NAME_LENGTH = 64


class _Mistake(Exception):
    """A place in the file, and what is wrong there."""

    def __init__(self, place: Place, sentence: str) -> None:
        super().__init__(sentence)
        self.place = place
        self.sentence = sentence


def parse_models_file(content: bytes, models_dir: Path, default: str | None = None) -> Catalog:
    """The catalog that a models file describes.

    Args:
        models_dir: where relative paths begin, and where models from the hub lie.
        default: the name for requests that name no model, instead of the file's own choice.

    Raises:
        CatalogError: with a sentence that names the line and the field at fault.
    """
    document, lines = _read(content)
    try:
        parsed = _shaped(document)
        entries = [_entry(name, model, models_dir) for name, model in parsed.models.items()]
        _check_names(entries)
        if default is None and parsed.default_model is not None:
            _check_default(entries, parsed.default_model)
    except _Mistake as mistake:
        line = nearest_line(lines, mistake.place)
        field = ".".join(str(part) for part in mistake.place)
        raise CatalogError(f"line {line}: {_quoted(field)}{mistake.sentence}.") from mistake
    return Catalog(entries, default or parsed.default_model)


def _read(content: bytes) -> tuple[Any, dict[Place, int]]:
    try:
        document = pydantic_core.from_json(content, allow_inf_nan=False)
        text = content.decode()
    except UnicodeDecodeError as error:
        raise CatalogError(f"Invalid JSON: {error.reason}.") from error
    except ValueError as error:
        where = re.search(r" at line (\d+) column (\d+)", str(error))
        line = f"line {where[1]}: " if where else ""
        raise CatalogError(f"{line}Invalid JSON: {error}.") from error
    try:
        return document, lines_in(text)
    except KeyTwice as twice:
        place = ".".join(str(part) for part in twice.place)
        raise CatalogError(f"line {twice.line}: '{place}' is there twice.") from twice


def _shaped(document: Any) -> ModelsFile:
    try:
        return ModelsFile.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise _mistake(found[0], len(found) - 1) from error


def _mistake(details: Any, further: int) -> _Mistake:
    kind, place = details["type"], details["loc"]
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind == "contradiction":
        place = (*place, details["ctx"]["field"])
    elif kind == "extra_forbidden":
        message = "is not known. Remove it, or check its spelling"
    elif kind == "missing":
        message = "is missing"
    elif kind in {"model_type", "dict_type"}:
        message = "should be an object"
    if place[-1:] == ("[key]",):
        place = place[:-1]
    more = f" ({further} more mistakes)" if further > 1 else " (one more mistake)" * further
    return _Mistake(tuple(place), f"{message}{more}")


def _quoted(field: str) -> str:
    return f"'{field}' " if field else "the file "


def _entry(name: str, model: Model, models_dir: Path) -> ModelEntry:
    path, hub = _source(name, model, models_dir)
    upstream = model.upstream
    return ModelEntry(
        name=name,
        path=path,
        type=model.type,
        engine=model.engine,
        hub=hub,
        upstream=None
        if upstream is None
        else UpstreamEntry(
            upstream.url,
            upstream.model,
            None if upstream.key_file is None else Path(upstream.key_file),
            upstream.timeout,
        ),
        adapters=_adapters(name, model, models_dir),
        context_length=model.context_length,
        threads=model.threads,
        device=model.device,
        quantization=model.quantization,
        max_memory=model.max_memory,
        max_sequences=model.max_sequences,
        keep_alive=model.keep_alive,
        pinned=model.pinned,
        preload=model.preload,
        weight=model.weight,
        sampling=model.sampling.model_dump(exclude_none=True),
        system_prompt=model.system_prompt,
        chat_template=model.chat_template,
        trust_remote_code=model.trust_remote_code,
        aliases=tuple(model.aliases),
        fallback=model.fallback or "",
        kind=model.kind,
        pooling=model.pooling,
        matryoshka=model.matryoshka,
    )


def _source(name: str, model: Model, models_dir: Path) -> tuple[Path, HubSource | None]:
    """Where a model is, or will be: ``owner/name`` is on the hub unless it is a .gguf file. A folder below
    MODEL_CACHE_DIR with one slash in its path is written with ``./`` before it."""
    if model.path is None:
        return Path(), None
    found = _HUB_PATH.fullmatch(model.path)
    if found is None or (model.path.lower().endswith(".gguf") and found[2] is None):
        return models_dir / model.path / (model.file or ""), None
    if found[2] and model.file:
        raise _Mistake(("models", name, "file"), "is in the path already, behind the colon")
    hub = HubSource(found[1], found[2] or model.file or "", model.revision)
    return hub_folder(models_dir, hub), hub


def _adapters(name: str, model: Model, models_dir: Path) -> tuple[AdapterEntry, ...]:
    if model.adapter is not None:
        path = models_dir / model.adapter
        called = re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem).lstrip("-.")[:_NAME_LENGTH]
        if not called:
            raise _Mistake(("models", name, "adapter"), "gives no name: write it as 'adapters'")
        return (AdapterEntry(called, path),)
    return tuple(
        AdapterEntry(called, models_dir / one.path, one.scale) for called, one in model.adapters.items()
    )


def _check_names(entries: list[ModelEntry]) -> None:
    """Raises _Mistake where a name, an alias or a fallback cannot be meant."""
    known: dict[str, ModelEntry] = {entry.name: entry for entry in entries}
    if not entries:
        raise _Mistake(("models",), "lists no models")
    for entry in entries:
        for number, alias in enumerate(entry.aliases):
            if alias in known:
                raise _Mistake(("models", entry.name, "aliases", number), f"Two models are called '{alias}'")
            known[alias] = entry
    for entry in entries:
        _check_fallback(entry, known)


def _check_fallback(entry: ModelEntry, known: dict[str, ModelEntry]) -> None:
    place = ("models", entry.name, "fallback")
    if entry.fallback and entry.fallback not in known:
        raise _Mistake(place, f"names '{entry.fallback}', which is not among the models")
    if entry in _line_behind(entry, known):
        raise _Mistake(place, "leads back to the model itself")


def _line_behind(entry: ModelEntry, known: dict[str, ModelEntry]) -> Iterator[ModelEntry]:
    """Who answers instead of a model, one after the other; stops where it would go round."""
    seen: set[str] = set()
    while entry.fallback in known and entry.name not in seen:
        seen.add(entry.name)
        entry = known[entry.fallback]
        yield entry


def _check_default(entries: list[ModelEntry], default: str) -> None:
    names = {name for entry in entries for name in (entry.name, *entry.aliases)}
    if default not in names:
        listed = Catalog(entries).names()
        raise _Mistake(("default_model",), f"'{default}' is not among the models: {listed}")
