"""What operators, probes and dashboards see."""

from __future__ import annotations

import pytest

from ai_core.engine.messages import Stats
from ai_core.errors import GenerationFailed
from ai_core.residency.recovery import Cause
from edge_server import Server, error_of


async def test_the_server_is_ready_before_any_model_is(server: Server) -> None:
    server.engine.state, server.engine.ready, server.engine.load_progress = "loading", None, 0.25
    assert (await server.client.get("/readyz")).status_code == 200
    assert (await server.client.get("/livez")).status_code == 200
    (model,) = (await server.client.get("/api/v1/models")).json()["models"]
    assert (model["state"], model["load_progress"], model["context_length"]) == ("loading", 0.25, None)


async def test_our_list_of_models_tells_names_and_state(server: Server) -> None:
    (model,) = (await server.client.get("/api/v1/models")).json()["models"]
    assert model["name"] == "fake-model"
    assert model["aliases"] == ["fake-alias"]
    assert model["default"] is True
    assert model["context_length"] == 4096


async def test_openais_list_of_models_has_aliases_too(server: Server) -> None:
    listed = (await server.client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["fake-model", "fake-alias"]
    assert all(model["object"] == "model" for model in listed["data"])


async def test_one_model_can_be_asked_for(server: Server) -> None:
    assert (await server.client.get("/v1/models/fake-alias")).json()["id"] == "fake-alias"
    missing = await server.client.get("/v1/models/org/other")
    assert missing.status_code == 404
    assert error_of(missing)["param"] == "model"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("ready", "ok"),
        ("loading", "ok"),
        ("stopped", "ok"),
        ("restarting", "degraded"),
        ("parked", "unavailable"),
    ],
)
async def test_health_tells_whether_a_model_is_missing(server: Server, state: str, status: str) -> None:
    server.engine.state = state
    server.engine.restarts[Cause.CRASHED] = 3
    health = (await server.client.get("/api/v1/health")).json()
    assert health["status"] == status
    assert health["parts"]["engines"]["fake-model"]["state"] == state
    assert health["parts"]["engines"]["fake-model"]["restarts"] == 3
    assert health["parts"]["api"] == {"accepting": True, "requests_open": 0}


async def test_metrics_show_the_engines_own_numbers(server: Server) -> None:
    server.engine.stats = Stats(
        running=3,
        waiting=5,
        kv_cells=100,
        kv_cells_used=60,
        kv_cells_cached=20,
        prefix_queries=90,
        prefix_hits=30,
    )
    model = {"model": "fake-model"}
    # Before anything has ended: what is first seen as 2 has not grown for Prometheus.
    page = (await server.client.get("/api/v1/metrics")).text
    for reason in ("crashed", "killed", "hung", "load_failed"):
        assert f'neo_engine_restarts_total{{model="fake-model",reason="{reason}"}} 0.0' in page
    server.engine.restarts[Cause.HUNG] = 2
    assert await server.metric("neo_requests_running", **model) == 3
    assert await server.metric("neo_requests_waiting", **model) == 5
    assert await server.metric("neo_kv_cache_usage_ratio", **model) == 0.4
    assert await server.metric("neo_prefix_cache_queries_total", **model) == 90
    assert await server.metric("neo_prefix_cache_hits_total", **model) == 30
    assert await server.metric("neo_engine_restarts_total", reason="hung", **model) == 2


async def test_metrics_count_answers_tokens_and_times(echo_server: Server) -> None:
    for stream in (False, True):
        await echo_server.chat(prompt="one two three", stream=stream)
    for name, value in {
        "neo_time_to_first_token_seconds_count": 2,
        "neo_inter_token_latency_seconds_count": 4,
        "neo_request_duration_seconds_count": 2,
        "neo_queue_seconds_sum": 0.5,
        "neo_prompt_tokens_total": 14,
        "neo_generated_tokens_total": 6,
    }.items():
        assert await echo_server.metric(name, model="fake-model") == value
    assert await echo_server.metric("neo_requests_total", route="/api/v1/chat", status="200") == 2


@pytest.mark.parametrize(
    "route", ["/api/v1/chat", "/api/v1/generate", "/v1/chat/completions", "/v1/embeddings"]
)
async def test_our_failures_are_told_of_before_the_first(echo_server: Server, route: str) -> None:
    page = (await echo_server.client.get("/api/v1/metrics")).text
    for status in (500, 502, 503, 504):
        assert f'neo_requests_total{{route="{route}",status="{status}"}} 0.0' in page


async def test_metrics_count_refusals_by_route_and_status(echo_server: Server) -> None:
    await echo_server.chat(prompt="x", model="unknown")
    await echo_server.client.get("/nowhere")
    await echo_server.client.get("/v1/models/one")
    await echo_server.client.get("/v1/models/two")
    count = echo_server.metric
    assert await count("neo_requests_total", route="/api/v1/chat", status="404") == 1
    assert await count("neo_requests_total", route="unknown", status="404") == 1
    assert await count("neo_requests_total", route="/v1/models/{name:path}", status="404") == 2


async def test_an_answer_that_broke_off_still_counts_its_tokens(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("a", "b").fail(GenerationFailed("no"))
    await server.chat(prompt="x")
    assert await server.metric("neo_generated_tokens_total") == 2


async def test_the_description_of_the_api_holds_the_shape_of_every_body(server: Server) -> None:
    description = (await server.client.get("/openapi.json")).json()
    for path in ("/api/v1/chat", "/api/v1/generate", "/v1/chat/completions"):
        body = description["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        name = body["$ref"].removeprefix("#/components/schemas/")
        schema = description["components"]["schemas"][name]
        assert schema["properties"]["temperature"]["anyOf"][0]["maximum"] == 2
        assert schema["additionalProperties"] is False
    assert "Message" in description["components"]["schemas"]
