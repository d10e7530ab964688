"""Models over HTTP: what is told about them, their adapters, and the models file read again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from ai_core.access.caller import Scope
from ai_core.catalog.engine_choice import EngineDecision
from ai_core.catalog.facts import FileFacts
from ai_core.catalog.models import ModelEntry
from ai_core.catalog.plan import Changes, ModelPlan
from ai_core.errors import ModelsFileInvalid
from edge_server import READY, FakeEngine, Server, echo, error_of, running_server

ADAPTED = structs.replace(READY, adapters=["formal", "terse"])
PLAN = ModelPlan(
    ModelEntry("fake-model", Path("fake.gguf")),
    Path("/srv/fake.gguf"),
    FileFacts(form="gguf", architecture="qwen3", quantization="Q8_0", size=123),
    EngineDecision("llama.cpp", "One answer at a time is computed faster by llama.cpp."),
)


@pytest.fixture
async def adapted() -> AsyncIterator[Server]:
    """Its engine has two adapters."""
    async with running_server(FakeEngine(script=echo, ready=ADAPTED), plans={"fake-model": PLAN}) as running:
        yield running


@pytest.mark.parametrize("body", [{"adapter": "formal"}, {"model": "fake-model:formal"}])
@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/generate", "/v1/completions"])
async def test_an_adapter_is_named_by_its_field_or_behind_the_model(
    adapted: Server, path: str, body: dict[str, Any]
) -> None:
    answer = (await adapted.client.post(path, json={"prompt": "x"} | body)).json()
    assert adapted.engine.requests[-1].adapter == "formal"
    assert answer["model"] == "fake-model:formal"


async def test_openais_chats_take_adapters_too(adapted: Server) -> None:
    chosen = await adapted.openai(model="fake-alias:terse")
    assert chosen.json()["model"] == "fake-model:terse"
    assert (await adapted.openai()).json()["model"] == "fake-model"
    assert [request.adapter for request in adapted.engine.requests] == ["terse", ""]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"adapter": "rude"}, "unknown_adapter", "Its adapters: formal, terse."),
        ({"model": "fake-model:rude"}, "unknown_adapter", "has no adapter 'rude'"),
        ({"model": "fake-model:formal", "adapter": "terse"}, "invalid_request", "names one adapter"),
    ],
)
async def test_an_adapter_that_is_not_there_is_a_400(
    adapted: Server, body: dict[str, Any], code: str, words: str
) -> None:
    refused = await adapted.chat(prompt="x", **body)
    error = error_of(refused)
    assert (refused.status_code, error["code"], error["param"]) == (400, code, "adapter")
    assert words in error["message"]


async def test_a_model_without_adapters_says_so(echo_server: Server) -> None:
    error = error_of(await echo_server.chat(prompt="x", adapter="formal"))
    assert error["message"] == "The model 'fake-model' has no adapter 'formal'. It has none."


async def test_an_adapter_of_a_model_that_is_not_there_is_a_404(adapted: Server) -> None:
    refused = await adapted.chat(prompt="x", model="other:formal")
    assert (refused.status_code, error_of(refused)["param"]) == (404, "model")


async def test_vectors_are_made_without_adapters(adapted: Server) -> None:
    body = {"model": "fake-model:formal", "input": "x"}
    refused = await adapted.client.post("/v1/embeddings", json=body)
    assert (refused.status_code, error_of(refused)["param"]) == (400, "model")


async def test_an_answer_with_an_adapter_is_none_without_it(adapted: Server) -> None:
    for body in ({}, {"adapter": "formal"}, {"adapter": "terse"}, {"adapter": "formal"}, {}):
        await adapted.chat(prompt="same", temperature=0, **body)
    assert [request.adapter for request in adapted.engine.requests] == ["", "formal", "terse"]


async def test_openais_list_has_a_model_for_each_adapter(adapted: Server) -> None:
    listed = (await adapted.client.get("/v1/models")).json()["data"]
    names = ["fake-model", "fake-alias", "fake-model:formal", "fake-model:terse"]
    assert [model["id"] for model in listed] == names
    for name in names:
        assert (await adapted.client.get(f"/v1/models/{name}")).json()["id"] == name
    assert (await adapted.client.get("/v1/models/fake-model:rude")).status_code == 404


async def test_everything_about_one_model(adapted: Server) -> None:
    told = (await adapted.client.get("/api/v1/models/fake-alias")).json()
    assert told["name"] == "fake-model"
    assert told["engine"] == "llama.cpp"
    assert told["engine_reason"].startswith("One answer at a time")
    assert told["adapters"] == ["formal", "terse"]
    assert (told["files"]["quantization"], told["files"]["size_bytes"]) == ("Q8_0", 123)
    assert told["path"] == "/srv/fake.gguf"


async def test_paths_and_the_system_prompt_are_for_who_administers(adapted: Server) -> None:
    key = await adapted.new_key(Scope.MODELS_READ)
    told = await adapted.anonymous.get("/api/v1/models/fake-model", headers={"X-API-Key": key})
    assert told.json()["engine"] == "llama.cpp"
    assert (told.json()["path"], told.json()["system_prompt"]) == (None, None)


async def test_a_model_that_is_not_there_or_not_for_this_key_is_a_404(adapted: Server) -> None:
    assert (await adapted.client.get("/api/v1/models/other")).status_code == 404
    key = await adapted.new_key(Scope.MODELS_READ, allowed_models=("something-else",))
    told = await adapted.anonymous.get("/api/v1/models/fake-model", headers={"X-API-Key": key})
    assert told.status_code == 404


async def test_reloading_says_what_became_of_the_models() -> None:
    async def reload() -> Changes:
        return Changes(added=("new",), unchanged=("fake-model",))

    async with running_server(FakeEngine(), reload_models=reload) as server:
        told = await server.client.post("/api/v1/admin/models/reload")
        assert told.json() == {"added": ["new"], "changed": [], "removed": [], "unchanged": ["fake-model"]}
        key = await server.new_key(Scope.MODELS_WRITE, Scope.GENERATE)
        refused = await server.anonymous.post("/api/v1/admin/models/reload", headers={"X-API-Key": key})
        assert refused.status_code == 403


async def test_a_models_file_with_a_mistake_is_a_400_that_names_it() -> None:
    async def reload() -> Changes:
        raise ModelsFileInvalid("The models are as before. models.json: line 3: 'models.m.path' is missing.")

    async with running_server(FakeEngine(), reload_models=reload) as server:
        refused = await server.client.post("/api/v1/admin/models/reload")
    error = error_of(refused)
    assert (refused.status_code, error["code"]) == (400, "invalid_models_file")
    assert "line 3" in error["message"]


async def test_health_counts_a_model_without_files_as_one_that_cannot_answer(server: Server) -> None:
    server.engine.state = "not_fetched"
    health = await server.client.get("/api/v1/health")
    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
