"""Models come into memory and leave it: over HTTP, with the demo model under several names."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_core_service import DEMO_MODEL, PATIENCE, Server, running, wait_until

BUDGET = 165_000_000
"""Room for one of the models."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    broken = folder / "broken.gguf"
    broken.write_bytes(DEMO_MODEL.read_bytes()[:-1_000_000])
    demo = {"type": "gguf", "path": str(DEMO_MODEL), "engine": "llama.cpp", "threads": 1}
    models = {
        "one": demo,
        "two": demo | {"aliases": ["zwei"]},
        "bounded": demo | {"max_memory": "50MB"},
        "fragile": demo | {"fallback": "one"},
        "broken": demo | {"path": str(broken), "fallback": "one"},
    }
    (folder / "models.json").write_text(json.dumps({"models": models, "default_model": "one"}))
    settings = {
        "MODEL_PATH": "",
        "MODEL_NAME": "",
        "MODEL_CONFIG_PATH": str(folder / "models.json"),
        "MODEL_MEMORY_BUDGET": str(BUDGET),
        "MODEL_SWAP_WAIT": "0.5",
        "KV_CELLS": "16384",
        "MAX_SEQUENCES": "4",
    }
    with running(**settings) as server:
        yield server


def state_of(server: Server, name: str) -> str:
    states = {model["name"]: model["state"] for model in server.get("/api/v1/models").json()["models"]}
    return str(states[name])


def load(server: Server, model: str, **more: Any) -> httpx.Response:
    return server.post("/api/v1/models/load", {"model": model} | more)


def unload(server: Server, model: str, **more: Any) -> httpx.Response:
    return server.post("/api/v1/models/unload", {"model": model} | more)


def test_a_model_is_loaded_and_unloaded_as_often_as_one_likes(server: Server) -> None:
    facts: dict[str, Any] = {}
    for _ in range(2):
        response = load(server, "zwei")
        assert response.status_code == 200, response.text
        facts = response.json()
        assert (facts["model"], facts["state"]) == ("two", "ready")
        assert 50_000_000 < facts["memory_bytes"] <= BUDGET
    assert server.metric("neo_model_memory_bytes", model="two") == facts["memory_bytes"]
    assert state_of(server, "one") == "stopped", "they do not fit together"
    for _ in range(2):
        facts = unload(server, "two").json()
        assert (facts["state"], facts["memory_bytes"]) == ("stopped", 0)
    assert server.metric("neo_model_evictions_total", model="two", cause="asked") == 1
    assert server.metric("neo_model_memory_budget_bytes") == BUDGET


def test_loading_need_not_be_waited_for(server: Server) -> None:
    unload(server, "one")
    assert load(server, "one", wait=False).json()["state"] in {"stopped", "loading"}
    wait_until(lambda: state_of(server, "one") == "ready", "the model is resident")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/chat", {"prompt": "Bonjour"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Bonjour"}]}),
        ("/v1/completions", {"prompt": "Bonjour"}),
    ],
)
def test_a_request_says_that_its_model_shall_leave(server: Server, path: str, body: dict[str, Any]) -> None:
    response = server.post(path, body | {"model": "one", "max_tokens": 3, "keep_alive": 0})
    assert response.status_code == 200, response.text
    wait_until(lambda: state_of(server, "one") == "stopped", "the model has left")


def test_a_wrong_keep_alive_is_named(server: Server) -> None:
    for wrong in ("soon", True, [5], "5 fortnights"):
        error = server.post("/api/v1/chat", {"prompt": "Bonjour", "keep_alive": wrong})
        assert error.status_code == 400
        assert error.json()["error"]["param"] == "keep_alive"
    for right in ("5m", 300, -1, "1h30m"):
        assert load(server, "one", keep_alive=right).json()["keep_alive"] in {300, None, 5400}


def test_requests_for_two_models_that_do_not_fit_together_are_all_answered(server: Server) -> None:
    before = server.metric("neo_model_loads_total", outcome="ready")

    def visit(number: int) -> None:
        for turn in range(4):
            answer = server.say("Bonjour", model=("one", "two")[(number + turn) % 2], max_tokens=4)
            assert answer["model"] == ("one", "two")[(number + turn) % 2]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, range(6)))
    loads = server.metric("neo_model_loads_total", outcome="ready") - before
    assert 2 <= loads <= 12, f"24 requests took {loads} loads"
    switches = server.metric("neo_model_switch_seconds_count")
    assert switches >= 1
    assert server.metric("neo_model_switch_seconds_sum") / switches < 30
    assert server.metric("neo_model_wait_seconds_count") > 0


@pytest.mark.parametrize("temperature", [0.7, 0])
def test_who_does_not_want_to_wait_for_a_load_learns_when_to_come_back(
    server: Server, temperature: float
) -> None:
    unload(server, "one")
    unload(server, "two")
    response = server.post(
        "/api/v1/chat",
        {"prompt": "Bonjour", "model": "one", "temperature": temperature},
        headers={"X-Request-Timeout": "0.05"},
    )
    assert response.status_code == 503, response.text
    error = response.json()["error"]
    assert error["code"] == "model_loading"
    assert "%" in error["message"]
    assert int(response.headers["retry-after"]) >= 1


def test_a_busy_model_is_unloaded_after_its_answer_or_by_force(server: Server) -> None:
    body = {"model": "one", "prompt": "Bonjour", "stream": True, "max_tokens": 1500, "ignore_eos": True}
    with server.stream(body) as events:
        next(events)
        refused = unload_within(server, "one", 0.1)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "model_busy")
        assert unload(server, "one", force=True).json()["state"] == "stopped"
        last = list(events)[-1]
        assert last["error"]["code"] == "engine_unavailable"


def unload_within(server: Server, model: str, seconds: float) -> httpx.Response:
    headers = {"X-Request-Timeout": str(seconds)}
    return server.post("/api/v1/models/unload", {"model": model}, headers=headers)


def test_an_answer_under_way_is_finished_before_its_model_leaves(server: Server) -> None:
    with server.stream({"model": "one", "prompt": "Bonjour", "stream": True, "max_tokens": 60}) as events:
        next(events)
        response: list[httpx.Response] = []
        unloading = threading.Thread(target=lambda: response.append(unload(server, "one")))
        unloading.start()
        assert list(events)[-1]["finish_reason"] in {"stop", "length"}
        unloading.join(PATIENCE)
    assert response[0].json()["requests"] == 0


def test_a_model_that_cannot_fit_is_refused_with_the_figures(server: Server) -> None:
    response = server.post("/api/v1/chat", {"model": "bounded", "prompt": "Bonjour"})
    assert response.status_code == 503
    error = response.json()["error"]
    assert error["code"] == "model_too_large"
    assert "0.05 GB" in error["message"]
    assert load(server, "bounded").json()["error"]["code"] == "model_too_large"


def test_a_model_that_cannot_be_loaded_is_stood_in_for_by_name(server: Server) -> None:
    for _ in range(2):
        answer = server.say("Bonjour", model="broken", max_tokens=4)
        assert answer["model"] == "one"
    refused = load(server, "broken")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "model_parked"
    assert int(refused.headers["retry-after"]) >= 1
    assert server.get("/api/v1/health").json()["status"] == "degraded"


def test_a_model_whose_engine_dies_again_and_again_is_stood_in_for_and_others_answer_on(
    server: Server,
) -> None:
    assert server.say("Bonjour", model="fragile", max_tokens=4)["model"] == "fragile"

    def parked_by_another_kill() -> bool:
        if state_of(server, "fragile") == "ready":
            # It may just have ended.
            with contextlib.suppress(AssertionError, ProcessLookupError):
                os.kill(server.engine_pid(), signal.SIGKILL)
        return state_of(server, "fragile") == "parked"

    wait_until(parked_by_another_kill, "the model is parked")
    assert server.metric("neo_engine_restarts_total", model="fragile", reason="killed") == 5
    assert server.say("Bonjour", model="fragile", max_tokens=4)["model"] == "one"
    assert server.say("Bonjour", model="two", max_tokens=4)["model"] == "two"


def test_what_is_no_model_is_told_so_and_keys_need_the_scope(server: Server) -> None:
    assert load(server, "three").status_code == 404
    assert unload(server, "three").json()["error"]["param"] == "model"
    assert load(server, "one", sideways=True).json()["error"]["param"] == "sideways"
    made = server.post("/api/v1/admin/keys", {"name": "reader", "scopes": ["generate", "models:read"]})
    reader = {"X-API-Key": made.json()["key"]}
    response = server.post("/api/v1/models/load", {"model": "one"}, headers=reader)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "insufficient_scope")


def test_the_budget_may_not_be_nonsense(tmp_path: Path) -> None:
    from ai_core.config import Settings

    assert Settings.load({"MODEL_MEMORY_BUDGET": "12GB"}).model_memory_budget == 12_000_000_000
    assert Settings.load({"MODEL_KEEP_ALIVE": "-1"}).model_keep_alive == -1
    assert Settings.load({"MODEL_KEEP_ALIVE": "90m"}).model_keep_alive == 5_400
    for wrong in ({"MODEL_MEMORY_BUDGET": "much"}, {"MODEL_KEEP_ALIVE": "long"}):
        with pytest.raises(Exception, match=next(iter(wrong))):
            Settings.load(wrong)
