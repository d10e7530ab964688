"""What the settings say about models, checked against the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai_core.catalog.models import Catalog, CatalogError, ModelEntry
from ai_core.catalog.models_file import parse_models_file
from ai_core.catalog.quantized import with_quantized
from ai_core.standard_places import DEMO_MODEL, MODELS_FILE

GGUF_MAGIC = b"GGUF"
MAX_MODELS_FILE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class ModelSources:
    """Where models come from; the fields are the settings of the same names."""

    model_path: Path | None
    model_name: str | None
    model_config_path: Path
    model_cache_dir: Path
    default_model: str | None


def load_catalog(sources: ModelSources) -> Catalog:
    """The catalog of this server. Models of the models file may be absent still, or broken: each of them
    answers with its own error, and the others are served.

    MODEL_PATH goes first: then this one file is served, it begins like a GGUF file, and no models file is
    read. Where nothing is set and there is no models file, it is the demo model, if the sources are here.

    Raises:
        CatalogError: with one sentence that says what to do.
    """
    if sources.model_path:
        check_gguf(sources.model_path)
        catalog = _single(sources)
    else:
        catalog = _registry(sources)
    # Those that were made here from one of them stand behind them.
    every = with_quantized(catalog.entries, sources.model_cache_dir)
    return Catalog(every, catalog.default.name)


def check_gguf(path: Path) -> None:
    """Raises CatalogError if this cannot be a GGUF file."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except FileNotFoundError as error:
        raise CatalogError(f"The model file {path} does not exist.") from error
    except IsADirectoryError as error:
        raise CatalogError(f"{path} is a folder; name a .gguf file in it.") from error
    except OSError as error:
        raise CatalogError(f"The model file {path} cannot be read ({error.strerror}).") from error
    if not magic:
        raise CatalogError(f"The model file {path} is empty: the download or copy was cut short.")
    if magic != GGUF_MAGIC:
        raise CatalogError(f"{path} is not a GGUF file: it does not begin with the letters GGUF.")


def _single(sources: ModelSources) -> Catalog:
    assert sources.model_path is not None
    name = sources.model_name or sources.model_path.stem
    try:
        return Catalog([ModelEntry(name, sources.model_path)], sources.default_model)
    except CatalogError as error:
        raise CatalogError(f"DEFAULT_MODEL does not fit MODEL_PATH. {error}") from error


def _registry(sources: ModelSources) -> Catalog:
    path = sources.model_config_path
    if sources.model_name:
        raise CatalogError("MODEL_NAME names the file of MODEL_PATH, which is not set.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MODELS_FILE_BYTES + 1)
    except FileNotFoundError as error:
        if path == MODELS_FILE and DEMO_MODEL.is_file():
            return Catalog([ModelEntry(DEMO_MODEL.stem, DEMO_MODEL)], sources.default_model)
        raise CatalogError(
            f"There is no model to serve: set MODEL_PATH to a .gguf file, or list models in {path} "
            "(MODEL_CONFIG_PATH)."
        ) from error
    except OSError as error:
        raise CatalogError(f"The models file {path} cannot be read ({error.strerror}).") from error
    if len(content) > MAX_MODELS_FILE_BYTES:
        raise CatalogError(f"The models file {path} is larger than {MAX_MODELS_FILE_BYTES} bytes.")
    try:
        return parse_models_file(content, sources.model_cache_dir, sources.default_model)
    except CatalogError as error:
        raise CatalogError(f"{path}: {error}") from error
