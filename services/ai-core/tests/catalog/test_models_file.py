"""The models file, and the names in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.models import (
    AdapterEntry,
    Catalog,
    CatalogError,
    HubSource,
    ModelEntry,
    UpstreamEntry,
)
from ai_core.catalog.models_file import parse_models_file
from ai_core.catalog.places import hub_folder
from ai_core.errors import ModelNotFound

MODELS_DIR = Path("var/models")
SMALL: dict[str, Any] = {"type": "gguf", "path": "small.gguf"}
REMOTE: dict[str, Any] = {"type": "remote", "upstream": {"url": "http://10.0.0.2:9000/v1"}}


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
        ({}, "'models' is missing"),
        ({"models": {}}, "lists no models"),
        ({"models": {"m": SMALL}, "default_model": "other"}, "'other' is not among the models: m"),
        ({"models": {"m": SMALL}, "modles": 1}, "'modles' is not known"),
        ({"models": {"m": SMALL | {"ctx": 1}}}, "'models.m.ctx' is not known"),
        ({"models": {"m": {"type": "gguf"}}}, "'models.m.path' is missing"),
        ({"models": {"m": {"path": "x.gguf"}}}, "'models.m.type' is missing"),
        ({"models": {"m": SMALL | {"type": "pickle"}}}, "models.m.type"),
        ({"models": {"m": 3}}, "'models.m' should be an object"),
        ({"models": {"m": SMALL | {"context_length": -1}}}, "models.m.context_length"),
        ({"models": {"m": SMALL | {"threads": "4"}}}, "models.m.threads"),
        ({"models": {"m": SMALL | {"kind": "chat"}}}, "models.m.kind"),
        ({"models": {"m": SMALL | {"pooling": "rank"}}}, "models.m.pooling"),
        ({"models": {"m": SMALL | {"kind": "generation", "pooling": "cls"}}}, "for embedding models"),
        ({"models": {"two words": SMALL}}, "one word"),
        ({"models": {"": SMALL}}, "models"),
        ({"models": {"a": SMALL | {"aliases": ["b"]}, "b": SMALL}}, "Two models are called 'b'"),
        ({"models": {"m": SMALL | {"max_memory": "8 apples"}}}, "'models.m.max_memory' should be a size"),
        ({"models": {"m": SMALL | {"keep_alive": "soon"}}}, "'models.m.keep_alive' should be a time"),
        ({"models": {"m": SMALL | {"quantization": "Q99"}}}, "such as Q4_K_M"),
        ({"models": {"m": SMALL | {"format": "onnx"}}}, "'onnx' is no format for models of type 'gguf'"),
        ({"models": {"m": SMALL | {"engine": "transformers"}}}, "'transformers' is no engine for models"),
        ({"models": {"m": SMALL | {"trust_remote_code": True}}}, "for models of type 'transformers'"),
        ({"models": {"m": SMALL | {"sampling": {"temperature": 3}}}}, "models.m.sampling.temperature"),
        ({"models": {"m": SMALL | {"adapters": {"a:b": "x.gguf"}}}}, "models.m.adapters.a:b"),
        ({"models": {"m": SMALL | {"adapter": "a.gguf", "adapters": {"b": "c.gguf"}}}}, "mean the same"),
        ({"models": {"m": SMALL | {"path": "../secret.gguf"}}}, "may not hold '..'"),
        ({"models": {"m": SMALL | {"path": "own/er:x.gguf", "file": "y.gguf"}}}, "in the path already"),
        ({"models": {"m": SMALL | {"fallback": "n"}}}, "'n', which is not among the models"),
        ({"models": {"m": SMALL | {"fallback": "m"}}}, "'models.m.fallback' leads back to the model"),
        ({"models": {"a": SMALL | {"fallback": "b"}, "b": SMALL | {"fallback": "a"}}}, "leads back"),
        ({"models": {"m": SMALL | {"type": "onnx", "kind": "embedding"}}}, "served as 'gguf', or 'remote'"),
        ({"models": {"r": {"type": "remote"}}}, "'models.r.upstream' is missing"),
        ({"models": {"r": REMOTE | {"path": "x"}}}, "'models.r.path' is not for remote models"),
        ({"models": {"r": {"type": "remote", "upstream": {"url": "http://a:b@c"}}}}, "without a password"),
    ],
)
def test_a_mistake_is_named_with_its_line(document: dict[str, Any], words: str) -> None:
    said = refusal(document)
    assert words in said
    assert said.startswith("line 1: ")


def test_the_line_is_that_of_the_field() -> None:
    text = """{
      "models": {
        "small": {"type": "gguf", "path": "small.gguf"},
        "large": {
          "type": "gguf",
          "path": "large.gguf",
          "sampling": {
            "temperature": 0.5,
            "top_k": "many"
          }
        }
      }
    }"""
    with pytest.raises(CatalogError) as caught:
        parse_models_file(text.encode(), MODELS_DIR)
    assert str(caught.value).startswith("line 9: 'models.large.sampling.top_k' ")


def test_of_several_mistakes_the_number_is_told() -> None:
    assert "(2 more mistakes)" in refusal({"models": {"m": SMALL | {"a": 1, "b": 2, "c": 3}}})


def test_a_model_that_is_there_twice_is_not_lost_silently() -> None:
    with pytest.raises(CatalogError, match=r"line 2: .models\.m. is there twice"):
        parse_models_file(b'{"models": {"m": {},\n"m": {}}}', MODELS_DIR)


def test_the_form_of_the_plan_loads_unchanged() -> None:
    models = parse_models_file(
        b"""{"models": {
            "mistral-7b-instruct": {"type": "transformers", "path": "mistralai/Mistral-7B-Instruct-v0.3",
                "format": "safetensor", "device": "auto", "quantization": "4bit", "max_memory": "8GB"},
            "llama-2-7b-chat": {"type": "gguf", "path": "/models/llama-2-7b-chat.gguf",
                "context_length": 4096, "threads": 8}}}""",
        MODELS_DIR,
    )
    assert models.entries == (
        ModelEntry(
            "mistral-7b-instruct",
            MODELS_DIR / "hub/mistralai/Mistral-7B-Instruct-v0.3/main",
            type="transformers",
            hub=HubSource("mistralai/Mistral-7B-Instruct-v0.3"),
            quantization="4bit",
            max_memory=8_000_000_000,
        ),
        ModelEntry("llama-2-7b-chat", Path("/models/llama-2-7b-chat.gguf"), context_length=4096, threads=8),
    )


def test_everything_that_can_be_said_of_a_model() -> None:
    full = {
        "type": "gguf",
        "path": "own-er/re.po",
        "file": "*Q4_K_M*.gguf",
        "revision": "refs/pr/1",
        "engine": "llama.cpp",
        "adapters": {"formal": "formal.gguf", "terse": {"path": "/a/terse", "scale": 0.5}},
        "device": "CPU",
        "quantization": "Q4_K_M",
        "max_memory": "1.5GiB",
        "max_sequences": 4,
        "keep_alive": "5m",
        "pinned": True,
        "preload": True,
        "weight": 2,
        "sampling": {"temperature": 0.2, "top_k": 40, "max_tokens": 300},
        "system_prompt": "Be brief.",
        "chat_template": "{{ messages }}",
        "fallback": "second",
    }
    entry = catalog({"models": {"m": full, "small": SMALL | {"aliases": ["second"]}}}).resolve("m")
    assert entry == ModelEntry(
        "m",
        MODELS_DIR / "hub/own-er/re.po/refs--pr--1",
        engine="llama.cpp",
        hub=HubSource("own-er/re.po", "*Q4_K_M*.gguf", "refs/pr/1"),
        adapters=(
            AdapterEntry("formal", MODELS_DIR / "formal.gguf"),
            AdapterEntry("terse", Path("/a/terse"), 0.5),
        ),
        device="CPU",
        quantization="Q4_K_M",
        max_memory=3 * 2**29,
        max_sequences=4,
        keep_alive=300.0,
        pinned=True,
        preload=True,
        weight=2.0,
        sampling={"temperature": 0.2, "top_k": 40, "max_tokens": 300},
        system_prompt="Be brief.",
        chat_template="{{ messages }}",
        fallback="second",
    )


def test_a_remote_model_is_a_server_and_a_name_there() -> None:
    upstream = {"url": "http://10.0.0.2:9000/v1/", "model": "big", "key_file": "/run/key", "timeout": "2m"}
    entry = catalog({"models": {"r": {"type": "remote", "upstream": upstream}}}).default
    assert entry.upstream == UpstreamEntry("http://10.0.0.2:9000/v1", "big", Path("/run/key"), 120.0)


@pytest.mark.parametrize(
    ("path", "file", "hub"),
    [
        ("owner/name", None, HubSource("owner/name")),
        ("owner/name:*q8_0.gguf", None, HubSource("owner/name", "*q8_0.gguf")),
        ("owner/name-GGUF", "*q8_0.gguf", HubSource("owner/name-GGUF", "*q8_0.gguf")),
        ("folder/file.gguf", None, None),
        ("file.gguf", None, None),
        ("./folder/sub", None, None),
        ("/srv/models/folder", None, None),
        ("a/b/c", None, None),
    ],
)
def test_two_words_with_a_slash_are_on_the_hub_and_all_else_is_here(
    path: str, file: str | None, hub: HubSource | None
) -> None:
    model = SMALL | {"path": path} | ({"file": file} if file else {})
    entry = catalog({"models": {"m": model}}).default
    assert entry.hub == hub
    assert entry.path == (hub_folder(MODELS_DIR, hub) if hub else MODELS_DIR / path)


def test_one_adapter_is_called_like_its_file() -> None:
    entry = catalog({"models": {"m": SMALL | {"adapter": "lora/formal fr.gguf"}}}).default
    assert entry.adapters == (AdapterEntry("formal-fr", MODELS_DIR / "lora/formal fr.gguf"),)


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
