"""Where models from the hub lie under MODEL_CACHE_DIR: one rule for who fetches them and who serves them.

::

    hub/mistralai/Mistral-7B-Instruct-v0.3/main/                 the files, with the repository's own names
    hub/mistralai/Mistral-7B-Instruct-v0.3/main/.fetched.json    written last: everything is here, checked

``ModelEntry.path`` of such a model is its folder, and :func:`opened_path` says what is opened in it: what
``.fetched.json`` says was fetched for it (:mod:`ai_core.catalog.fetched`). Until then, files are in
``.incoming``, where nothing looks for models.
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from ai_core.catalog.fetched import FETCHED, read_record, selection_key
from ai_core.catalog.gguf_names import is_model, part_of
from ai_core.catalog.models import HubSource, ModelEntry

HUB_FOLDER = "hub"


def hub_folder(models_dir: Path, hub: HubSource) -> Path:
    """Where the files of one revision of a repository lie, or will lie."""
    owner, _, name = hub.repository.partition("/")
    return models_dir / HUB_FOLDER / owner / name / hub.revision.replace("/", "--")


def opened_path(entry: ModelEntry) -> Path | None:
    """What an engine opens of a model: a file, or a folder; None: it is not there. Looks at the disk.

    Of a model from the hub that is what was fetched for it, and nothing that was fetched for another one.
    Of another GGUF model in a folder, the one file that fits, or the first of its parts.
    """
    if entry.hub is not None and (entry.path / FETCHED).is_file():
        return _fetched(entry, entry.hub)
    if entry.type != "gguf" or entry.path.is_file():
        return entry.path if _is_whole(entry) else None
    if not entry.path.is_dir():
        return None
    here = [path.relative_to(entry.path).as_posix() for path in entry.path.rglob("*") if path.is_file()]
    chosen = chosen_gguf(here, entry.hub.pattern if entry.hub else "", entry.quantization)
    return None if chosen is None else entry.path / chosen


def chosen_gguf(names: list[str], pattern: str, quantization: str) -> str | None:
    """Of the files of a repository's folder, the one to serve; None: there is none.

    Args:
        names: paths in the folder, with ``/``.
        pattern: of the model's hub source; empty: any.
        quantization: files with this word in their names go before others, e.g. ``Q4_K_M``.
    """
    found = sorted(name for name in names if is_gguf_model(name) and matches(name, pattern))
    preferred = [name for name in found if quantization.lower() in name.lower()]
    return next(iter(preferred or found), None)


def is_gguf_model(name: str) -> bool:
    """Whether a file is a model by itself, or the first part of one: no image projector, no later part."""
    part = part_of(name)
    return is_model(name) and (part is None or part.number == 1)


def matches(name: str, pattern: str) -> bool:
    """Whether a path in a repository fits a pattern like ``*q4_k_m.gguf``, whatever its case."""
    path = name.lower()
    wanted = pattern.lower()
    return not wanted or fnmatch(path, wanted) or fnmatch(PurePosixPath(path).name, wanted)


def _fetched(entry: ModelEntry, hub: HubSource) -> Path | None:
    key = selection_key(entry.type, hub.pattern, entry.quantization)
    selection = read_record(entry.path).selections.get(key)
    if selection is None or not all((entry.path / name).is_file() for name in selection.files):
        return None
    return entry.path / selection.main


def _is_whole(entry: ModelEntry) -> bool:
    # Of a folder model from the hub, only its record tells that nothing is missing.
    return entry.path.exists() and (entry.hub is None or entry.type == "gguf")
