"""Which engines the configured GGUF models need and this machine lacks:
``python -m ai_core.catalog.lacking_engines``.

`make run` asks this before it starts the server, so that an engine that has to be compiled is compiled
beforehand, with its progress in sight.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ai_core.catalog.engine_choice import Machine, choose_engine
from ai_core.catalog.facts import FileFacts, facts_of
from ai_core.catalog.files import ModelSources, load_catalog
from ai_core.catalog.machine import this_machine
from ai_core.catalog.models import CatalogError, EngineChoice, ModelEntry
from ai_core.catalog.places import opened_path
from ai_core.config import Settings
from servicekit.settings import SettingsError

ENV_FILE = Path(".env")
_FORCED: dict[str, EngineChoice] = {"llama_cpp": "llama.cpp", "openvino": "openvino"}


def lacking(
    entries: Iterable[ModelEntry],
    facts: Callable[[ModelEntry], FileFacts],
    machine: Machine,
    max_sequences: int,
) -> list[str]:
    """The engines to install, by what `make` calls them.

    Models whose files are not here yet count only if the models file names their engine: of the others it
    cannot be told.
    """
    installed = {"llama.cpp": machine.llama_cpp, "openvino": machine.openvino}
    found = set()
    for entry in entries:
        of_file = facts(entry)
        if entry.type != "gguf" or (entry.engine == "auto" and of_file.form == "unknown"):
            continue
        engine = choose_engine(entry, of_file, machine, entry.max_sequences or max_sequences).engine
        if not installed.get(engine, True):
            found.add(engine)
    return [
        command for engine, command in (("openvino", "openvino"), ("llama.cpp", "llama")) if engine in found
    ]


def main() -> int:
    """Print the engines, one to a line; 1 where the settings or the models file are wrong, which the server
    says better."""
    try:
        settings = Settings.load(os.environ, ENV_FILE)
        if settings.engine_backend == "scripted":
            return 0
        sources = ModelSources(
            model_path=settings.model_path,
            model_name=settings.model_name,
            model_config_path=settings.model_config_path,
            model_cache_dir=settings.model_cache_dir,
            default_model=settings.default_model,
        )
        entries = [_as_set(settings, entry) for entry in load_catalog(sources).entries]
    except (SettingsError, CatalogError):
        return 1
    machine = this_machine(kernels=settings.engine_kernels)
    names = lacking(entries, _facts, machine, settings.max_sequences)
    sys.stdout.write("".join(f"{name}\n" for name in names))
    return 0


def _facts(entry: ModelEntry) -> FileFacts:
    path = opened_path(entry)
    return FileFacts() if path is None else facts_of(entry.type, path)


def _as_set(settings: Settings, entry: ModelEntry) -> ModelEntry:
    """With the engine that ENGINE_BACKEND gives to models that leave it open."""
    forced: EngineChoice | None = _FORCED.get(settings.engine_backend)
    return replace(entry, engine=forced) if forced and entry.engine == "auto" else entry


if __name__ == "__main__":
    sys.exit(main())
