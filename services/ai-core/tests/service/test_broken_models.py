"""Models that are broken on the disk: each says what is wrong with it, and the others answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ai_core_service import DEMO_MODEL, QUESTIONS, Server, running
from lora_adapters import Layout, write_random_adapter
from model_twins import ModelTwins, change_json, copy_of, lie_in_header, replace

WEIGHTS = "model.safetensors"
EMBEDDINGS = "model.embed_tokens.weight"


@dataclass(frozen=True)
class Broken:
    """A model, what is broken in its files, and what its callers are told."""

    type: str
    spoil: Callable[[Path], None]
    sentence: str
    entry: dict[str, Any] = field(default_factory=dict)


def cut(name: str, length: int) -> Callable[[Path], None]:
    return lambda folder: replace(folder / name, (folder / name).read_bytes()[:length])


def put(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: replace(folder / name, content)


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


SAFETENSORS = {"engine": "transformers"}
BROKEN: dict[str, Broken] = {
    "gguf-cut": Broken("gguf", cut("model.gguf", 3_000_000), "GGUF"),
    "gguf-empty": Broken("gguf", put("model.gguf", b""), "empty"),
    "gguf-magic": Broken("gguf", put("model.gguf", b"PK\x03\x04" + bytes(4096)), "GGUF"),
    "gguf-missing": Broken("gguf", drop("model.gguf"), "not on this server"),
    "st-empty": Broken("transformers", put(WEIGHTS, b""), "no whole safetensors file", SAFETENSORS),
    "st-cut": Broken("transformers", cut(WEIGHTS, 1_000_000), "no whole safetensors file", SAFETENSORS),
    "st-header": Broken("transformers", put(WEIGHTS, b"\xff" * 64), "no whole safetensors file", SAFETENSORS),
    "st-lie": Broken(
        "transformers",
        lambda folder: lie_in_header(folder / WEIGHTS, EMBEDDINGS, shape=[8192, 256]),
        "no whole safetensors file",
        SAFETENSORS,
    ),
    "st-tokenizer": Broken("transformers", drop("tokenizer.json"), "tokenizer is missing", SAFETENSORS),
    "st-config": Broken("transformers", drop("config.json"), "no config.json", SAFETENSORS),
    "st-shape": Broken(
        "transformers",
        lambda folder: change_json(folder / "config.json", intermediate_size=512),
        "cannot load",
        SAFETENSORS,
    ),
    "onnx-empty": Broken("onnx", put("model.onnx", b""), "is empty"),
    "onnx-cut": Broken("onnx", cut("model.onnx", 2_000), "cannot load"),
    "onnx-data": Broken("onnx", cut("model.onnx.data", 1_000), "out of bounds"),
    "onnx-config": Broken("onnx", drop("genai_config.json"), "no genai_config.json"),
    "onnx-tokenizer": Broken("onnx", drop("tokenizer.json"), "tokenizer is missing"),
}


@pytest.fixture(scope="module")
def server(twins: ModelTwins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("broken")
    entries: dict[str, Any] = {"good": {"type": "gguf", "path": str(DEMO_MODEL)}}
    for name, broken in BROKEN.items():
        place = folder / name
        if broken.type == "gguf":
            place.mkdir()
            (place / "model.gguf").write_bytes(DEMO_MODEL.read_bytes())
        else:
            copy_of(twins.onnx if broken.type == "onnx" else twins.safetensors, place)
        broken.spoil(place)
        path = place / "model.gguf" if broken.type == "gguf" else place
        entries[name] = {"type": broken.type, "path": str(path), **broken.entry}
    foreign = write_random_adapter(folder / "foreign", 1, layout=Layout(width=128, queries=128, keys=64))
    entries["st-adapter"] = {
        "type": "transformers",
        "path": str(twins.safetensors),
        "adapters": {"foreign": str(foreign)},
        **SAFETENSORS,
    }
    entries["gguf-adapter"] = {"type": "gguf", "path": str(DEMO_MODEL), "adapters": {"foreign": str(foreign)}}
    (folder / "models.json").write_text(json.dumps({"models": entries, "default_model": "good"}))
    with running(
        MODEL_PATH="",
        MODEL_NAME="",
        MODEL_CONFIG_PATH=str(folder / "models.json"),
        MODEL_CACHE_DIR=str(folder / "cache"),
        THREADS="1",
    ) as found:
        yield found


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_says_what_is_wrong_and_the_others_answer(server: Server, name: str) -> None:
    response = server.post("/api/v1/chat", {"model": name, "prompt": "Bonjour"})
    assert response.status_code == 503, response.text
    error = response.json()["error"]
    assert BROKEN[name].sentence in error["message"], error
    assert "Traceback" not in error["message"]
    assert server.say(QUESTIONS[0])["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["st-adapter", "gguf-adapter"])
def test_an_adapter_of_another_architecture_is_refused_and_its_model_answers(
    server: Server, name: str
) -> None:
    body = {"model": name, "prompt": "Bonjour", "adapter": "foreign", "temperature": 0}
    response = server.post("/api/v1/chat", body)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert "foreign" in error["message"]
    assert error["param"] == "adapter"
    assert server.say(QUESTIONS[0], model=name)["finish_reason"] == "stop"
    assert server.say(QUESTIONS[0])["finish_reason"] == "stop"


def test_the_service_says_of_each_how_it_is(server: Server) -> None:
    models = {one["name"]: one for one in server.get("/api/v1/models").json()["models"]}
    assert models["good"]["state"] == "ready"
    assert set(BROKEN) <= set(models)
    assert server.get("/readyz").status_code == 200
