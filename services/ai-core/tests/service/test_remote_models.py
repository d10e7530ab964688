"""Models that other servers answer for: one AI core in front of two others, all of them real processes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from ai_core.engine_client.remote.breaker import FAILURES
from ai_core_service import QUESTIONS, Server, running, wait_until

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def scripted() -> Iterator[Server]:
    with running(ENGINE_BACKEND="scripted", MODEL_PATH="", MODEL_NAME="scripted") as server:
        yield server


@pytest.fixture(scope="module")
def nobody() -> Iterator[str]:
    """The address of a port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def remote(url: str, model: str, key: Path, **more: Any) -> dict[str, Any]:
    return {"type": "remote", "upstream": {"url": f"{url}/v1", "model": model, "key_file": str(key)}, **more}


def write(path: Path, models: dict[str, Any]) -> None:
    path.write_text(json.dumps({"models": models, "default_model": "demo"}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("remote")


@pytest.fixture(scope="module")
def models(server: Server, scripted: Server, nobody: str, folder: Path) -> dict[str, Any]:
    wrong_key = folder / "wrong.key"
    wrong_key.write_text("neo_wrong_key")
    return {
        "demo": remote(server.url, "neo-demo", server.key_path, aliases=["far-away"]),
        "scripted": remote(scripted.url, "scripted", scripted.key_path),
        "no-key": remote(server.url, "neo-demo", wrong_key),
        "gone": remote(nobody, "any", wrong_key, fallback="demo"),
        "unknown": remote(server.url, "no-such-model", server.key_path),
    }


@pytest.fixture(scope="module")
def front(models: dict[str, Any], folder: Path) -> Iterator[Server]:
    write(folder / "models.json", models)
    with running(MODEL_PATH="", MODEL_NAME="", MODEL_CONFIG_PATH=str(folder / "models.json")) as front:
        yield front


def ask(server: Server, model: str, text: str, **options: Any) -> dict[str, Any]:
    """A greedy answer in OpenAI's form."""
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 40, **options}
    response = server.post(CHAT, {"cache": "never", **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def streamed(server: Server, model: str, text: str) -> list[dict[str, Any]]:
    messages = [{"role": "user", "content": text}]
    body = {
        "model": model,
        "messages": messages,
        "temperature": 0,
        "max_tokens": 40,
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache": "never",
    }
    with server.stream(body, CHAT) as events:
        return list(events)


@pytest.mark.parametrize("question", QUESTIONS[:3])
def test_answers_and_their_counts_are_those_of_the_server_behind(
    server: Server, front: Server, question: str
) -> None:
    near, far = ask(server, "neo-demo", question), ask(front, "demo", question)
    assert far["choices"][0]["message"] == near["choices"][0]["message"]
    assert far["choices"][0]["finish_reason"] == near["choices"][0]["finish_reason"]
    for count in ("prompt_tokens", "completion_tokens"):
        assert far["usage"][count] == near["usage"][count]


def test_streams_come_through_in_pieces(server: Server, front: Server) -> None:
    def text(events: list[dict[str, Any]]) -> list[str]:
        return [
            one["delta"]["content"]
            for event in events
            for one in event["choices"]
            if one["delta"].get("content")
        ]

    near, far = streamed(server, "neo-demo", QUESTIONS[0]), streamed(front, "demo", QUESTIONS[0])
    assert "".join(text(far)) == "".join(text(near))
    assert len(text(far)) > 3
    assert far[-1]["usage"]["completion_tokens"] == near[-1]["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    "options",
    [
        {"stop": [" "]},
        {"temperature": 1, "seed": 7},
        {"logprobs": True, "top_logprobs": 2},
        {"logit_bias": {"100": -100}},
        {"presence_penalty": 1.5, "frequency_penalty": 0.5},
        {"repeat_penalty": 1.3, "top_k": 5, "min_p": 0.1},
        {"grammar": 'root ::= "oui" | "non"'},
        {"response_format": {"type": "json_object"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "n",
                    "schema": {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}},
                        "required": ["n"],
                        "additionalProperties": False,
                    },
                },
            }
        },
    ],
    ids="+".join,
)
def test_parameters_count_behind(server: Server, front: Server, options: dict[str, Any]) -> None:
    near = ask(server, "neo-demo", QUESTIONS[6], **options)
    far = ask(front, "demo", QUESTIONS[6], **options)
    assert far["choices"] == near["choices"]


def test_raw_prompts_and_our_own_routes_go_there_too(server: Server, front: Server) -> None:
    body = {"prompt": "Le contrat de travail", "temperature": 0, "max_tokens": 12, "cache": "never"}
    near, far = (one.post("/api/v1/generate", body).json() for one in (server, front))
    assert far["response"] == near["response"]
    assert far["model"] == "demo"
    assert front.say(QUESTIONS[1], model="far-away")["response"] == server.say(QUESTIONS[1])["response"]


def test_the_official_package_notices_nothing(front: Server) -> None:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key=front.key, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": QUESTIONS[0]}], max_tokens=20, stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        with pytest.raises(openai.InternalServerError, match="operator"):
            client.chat.completions.create(model="no-key", messages=[{"role": "user", "content": "?"}])


def test_what_the_server_behind_refuses_is_a_400_in_its_words(front: Server) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "mot " * 20_000}]}
    response = front.post(CHAT, body)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(("model", "status"), [("no-key", 503), ("unknown", 502)])
def test_what_only_the_operator_can_mend_is_said(front: Server, model: str, status: int) -> None:
    response = front.post(CHAT, {"model": model, "messages": [{"role": "user", "content": "?"}]})
    assert response.status_code == status, response.text
    assert "operator" in response.json()["error"]["message"]


def test_a_server_that_is_away_is_parked_and_its_fallback_answers(front: Server) -> None:
    body = {"model": "gone", "messages": [{"role": "user", "content": QUESTIONS[0]}], "temperature": 0}
    answers = [front.post(CHAT, body) for _ in range(FAILURES)]
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["error"]["code"] for answer in answers} == {"upstream_unavailable"}
    assert front.post(CHAT, body).json()["model"] == "demo"
    health = front.get("/api/v1/health").json()
    assert health["status"] == "degraded"
    states = {name: engine["state"] for name, engine in health["parts"]["engines"].items()}
    assert states["gone"] == "parked"
    assert states["demo"] == "ready"


def test_what_is_known_of_it_is_told_and_the_rest_is_null(front: Server, server: Server) -> None:
    facts = front.get("/api/v1/models/far-away").json()
    assert (facts["type"], facts["state"], facts["kind"]) == ("remote", "ready", "generation")
    assert facts["upstream_url"] == f"{server.url}/v1"
    assert facts["missing"] == ["adapter"]
    assert (facts["parameters"], facts["memory_bytes"]) == (None, None)
    for path in ("/api/v1/models/load", "/api/v1/models/unload"):
        response = front.post(path, {"model": "demo"})
        assert response.status_code == 400
        assert "not computed on this machine" in response.json()["error"]["message"]


def test_who_hangs_up_here_stops_the_work_there(front: Server, scripted: Server) -> None:
    messages = [{"role": "user", "content": "[[1000]][[slow 20]]"}]
    body = {"model": "scripted", "messages": messages, "stream": True, "max_tokens": 1000}
    with front.stream(body, CHAT) as events:
        next(events)
        wait_until(lambda: scripted.metric("neo_requests_running") == 1, "the server behind works")
    wait_until(lambda: scripted.metric("neo_requests_running") == 0, "the server behind has stopped")


def test_remote_models_come_change_and_go_while_the_service_runs(
    front: Server, server: Server, scripted: Server, models: dict[str, Any], folder: Path
) -> None:
    def reload(changed: dict[str, Any]) -> dict[str, Any]:
        write(folder / "models.json", changed)
        response = front.post("/api/v1/admin/models/reload", {})
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def text(model: str) -> str:
        return str(ask(front, model, "Bonjour")["choices"][0]["message"]["content"])

    near = ask(server, "neo-demo", "Bonjour")["choices"][0]["message"]["content"]
    moving = remote(scripted.url, "scripted", scripted.key_path)
    assert reload(models | {"moving": moving})["added"] == ["moving"]
    assert text("moving") == "Bonjour"
    moved = remote(server.url, "neo-demo", server.key_path)
    assert reload(models | {"moving": moved})["changed"] == ["moving"]
    assert text("moving") == near
    assert reload(models)["removed"] == ["moving"]
    messages = [{"role": "user", "content": "?"}]
    assert front.post(CHAT, {"model": "moving", "messages": messages}).status_code == 404
    assert text("demo") == near


def test_no_key_of_a_server_behind_is_in_any_log(server: Server, front: Server) -> None:
    wait_until(lambda: bool(front.log), "something was logged")
    said = "".join(front.log)
    assert server.key not in said
    assert "neo_wrong_key" not in said
