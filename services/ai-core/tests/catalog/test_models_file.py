"""The models file, and the names in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.models import Catalog, CatalogError, ModelEntry
from ai_core.catalog.models_file import parse_models_file
from ai_core.errors import ModelNotFound

MODELS_DIR = Path("var/models")
SMALL = {"type": "gguf", "path": "small.gguf"}


def catalog(document: dict[str, Any], default: str | None = None) -> Catalog:
    return parse_models_file(json.dumps(document).encode(), MODELS_DIR, default)


def refusal(document: dict[str, Any], default: str | None = None) -> str:
    with pytest.raises(CatalogError) as caught:
        catalog(document, default)
    return str(caught.value)


def test_a_model_is_found_by_name_and_alias() -> None:
    models = catalog({"models": {"small": SMALL | {"aliases": ["s", "gpt-4o-mini"], "threads": 2}}})
    entry = models.resolve("small")
    assert entry == ModelEntry("small", MODELS_DIR / "small.gguf", threads=2, aliases=("s", "gpt-4o-mini"))
    assert models.resolve("s") is models.resolve("gpt-4o-mini") is models.resolve(None) is entry


def test_an_absolute_path_stays_where_it_is() -> None:
    models = catalog({"models": {"small": SMALL | {"path": "/srv/small.gguf"}}})
    assert models.default.path == Path("/srv/small.gguf")


def test_who_names_no_model_gets_the_default() -> None:
    document = {"models": {"one": SMALL, "two": SMALL, "three": SMALL}, "default_model": "two"}
    assert catalog(document).default.name == "two"
    assert catalog(document, "three").default.name == "three"
    assert catalog({"models": document["models"]}).default.name == "one"


def test_embedding_models_stand_beside_those_that_chat() -> None:
    vectors = SMALL | {"kind": "embedding", "pooling": "mean", "matryoshka": True}
    models = catalog({"models": {"vectors": vectors, "small": SMALL}})
    entry = models.resolve("vectors")
    assert (entry.kind, entry.pooling, entry.matryoshka) == ("embedding", "mean", True)
    assert models.resolve("small").kind == "auto"


def test_who_names_no_model_gets_one_that_can_answer() -> None:
    vectors = SMALL | {"kind": "embedding"}
    assert catalog({"models": {"vectors": vectors, "small": SMALL}}).default.name == "small"
    assert catalog({"models": {"vectors": vectors}}).default.name == "vectors"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "models"),
        ({"models": {}}, "no models"),
        ({"models": {"m": SMALL}, "default_model": "other"}, "'other' is not among the models: m"),
        ({"models": {"m": SMALL}, "modles": 1}, "'modles' is not known"),
        ({"models": {"m": SMALL | {"ctx": 1}}}, "'models.m.ctx' is not known"),
        ({"models": {"m": {"type": "gguf"}}}, "models.m.path"),
        ({"models": {"m": SMALL | {"type": "onnx"}}}, "'onnx' are not served yet"),
        ({"models": {"m": SMALL | {"context_length": -1}}}, "models.m.context_length"),
        ({"models": {"m": SMALL | {"threads": "4"}}}, "models.m.threads"),
        ({"models": {"m": SMALL | {"kind": "chat"}}}, "models.m.kind"),
        ({"models": {"m": SMALL | {"pooling": "rank"}}}, "models.m.pooling"),
        ({"models": {"m": SMALL | {"kind": "generation", "pooling": "cls"}}}, "for embedding models"),
        ({"models": {"two words": SMALL}}, "one word"),
        ({"models": {"": SMALL}}, "models"),
        ({"models": {"a": SMALL | {"aliases": ["b"]}, "b": SMALL}}, "Two models are called 'b'"),
    ],
)
def test_a_mistake_is_named(document: dict[str, Any], words: str) -> None:
    assert words in refusal(document)


def test_what_is_no_json_says_so() -> None:
    with pytest.raises(CatalogError, match="Invalid JSON"):
        parse_models_file(b"{models:", MODELS_DIR)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_catalog_or_a_sentence(content: bytes) -> None:
    with pytest.raises(CatalogError):
        parse_models_file(content, MODELS_DIR)


@given(st.text(min_size=1))
def test_an_unknown_model_is_not_found_whatever_it_is_called(name: str) -> None:
    models = Catalog([ModelEntry("the one model", Path("x"))])
    with pytest.raises(ModelNotFound) as caught:
        models.resolve(name)
    assert caught.value.parameter == "model"
    assert len(caught.value.message) < 200


def test_many_models_are_not_all_listed_in_an_error() -> None:
    models = Catalog([ModelEntry(f"model-{number}", Path("x")) for number in range(100)])
    assert models.names().endswith("model-9, …")
