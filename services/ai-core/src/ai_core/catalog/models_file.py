"""The models file, ``models.json``: from its text to a catalog. Pure; no file is opened here.

::

    {"models": {"name": {"type": "gguf", "path": "file.gguf", "context_length": 4096,
                         "threads": 4, "aliases": ["other name"]},
                "vectors": {"type": "gguf", "path": "bert.gguf", "kind": "embedding",
                            "pooling": "mean", "matryoshka": false}},
     "default_model": "name"}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ai_core.catalog.models import Catalog, CatalogError, ModelEntry, ModelKind, ModelPooling

SERVED_TYPES = ("gguf",)


def _served(type_: str) -> str:
    if type_ not in SERVED_TYPES:
        raise ValueError(
            f"models of type '{type_[:40]}' are not served yet; served: {', '.join(SERVED_TYPES)}"
        )
    return type_


def _one_word(name: str) -> str:
    if not name.isprintable() or " " in name:
        raise ValueError("a model's name is one word of printable characters")
    return name


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_one_word)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Annotated[str, AfterValidator(_served)]
    path: Annotated[str, Field(min_length=1)]
    context_length: Annotated[int, Field(ge=0, le=1_048_576)] = 0
    threads: Annotated[int, Field(ge=0, le=1_024)] = 0
    aliases: list[Name] = []
    kind: ModelKind = "auto"
    pooling: ModelPooling = "auto"
    matryoshka: bool = False

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.kind == "generation" and (self.pooling != "auto" or self.matryoshka):
            raise ValueError("'pooling' and 'matryoshka' are for embedding models, not for generating ones")
        return self


class _ModelsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    models: dict[Name, _Model]
    default_model: str | None = None


def parse_models_file(content: bytes, models_dir: Path, default: str | None = None) -> Catalog:
    """The catalog that a models file describes.

    Args:
        models_dir: where relative paths begin.
        default: the name for requests that name no model, instead of the file's own choice.

    Raises:
        CatalogError: with a sentence that names the entry at fault.
    """
    try:
        parsed = _ModelsFile.model_validate_json(content)
    except ValidationError as error:
        raise CatalogError(_sentence(error)) from error
    entries = [
        ModelEntry(
            name=name,
            path=models_dir / model.path,
            context_length=model.context_length,
            threads=model.threads,
            aliases=tuple(model.aliases),
            kind=model.kind,
            pooling=model.pooling,
            matryoshka=model.matryoshka,
        )
        for name, model in parsed.models.items()
    ]
    return Catalog(entries, default or parsed.default_model)


def _sentence(error: ValidationError) -> str:
    details: Any = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return f"'{place}' is not known. Remove it, or check its spelling."
    message = details["msg"].removeprefix("Value error, ")
    return f"'{place}': {message}." if place else f"{message}."
