"""The demo model in each format, asked over HTTP: one server, one question, the same answer; and whatever
happens to one of them, the others do not notice.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from ai_core_service import DEMO_MODEL, QUESTIONS, SYSTEM, Server, running, wait_until
from model_twins import ModelTwins

LONGEST_ANSWER = 64
MODELS: dict[str, dict[str, Any]] = {
    "gguf": {"type": "gguf", "engine": "llama.cpp"},
    "gguf-openvino": {"type": "gguf", "engine": "openvino"},
    "safetensors": {"type": "transformers", "format": "safetensor", "engine": "transformers"},
    "onnx": {"type": "onnx"},
}
ONE_AT_A_TIME = ("safetensors", "onnx")
SAME_NUMBERS = ("gguf", "safetensors", "onnx")
"""Those that compute with F32 throughout."""
ENDLESS: dict[str, Any] = {"prompt": QUESTIONS[0], "temperature": 0, "ignore_eos": True, "max_tokens": 1_800}
MEMORY_TOLERANCE = 0.05


@pytest.fixture(scope="module")
def paths(twins: ModelTwins) -> dict[str, Path]:
    """Where each model lies. OpenVINO reads no F32 files, and these are F16 by origin."""
    return {
        "gguf": twins.gguf,
        "gguf-openvino": DEMO_MODEL,
        "safetensors": twins.safetensors,
        "onnx": twins.onnx,
    }


@pytest.fixture(scope="module")
def server(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("formats")
    entries = {name: {**entry, "path": str(paths[name])} for name, entry in MODELS.items()}
    (folder / "models.json").write_text(json.dumps({"models": entries, "default_model": "gguf"}))
    with running(
        MODEL_PATH="",
        MODEL_NAME="",
        MODEL_CONFIG_PATH=str(folder / "models.json"),
        MODEL_CACHE_DIR=str(folder / "cache"),
        CONTEXT_LENGTH="2048",
        THREADS="1",
    ) as found:
        yield found


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def engine_of(server: Server, path: Path) -> psutil.Process:
    """The process that serves the model at this place."""
    children = psutil.Process(server.process.pid).children()
    (found,) = [child for child in children if any(f'"{path}"' in part for part in child.cmdline())]
    return found


def others_than(model: str) -> list[str]:
    return [name for name in MODELS if name != model]


def test_the_same_weights_say_the_same_in_every_format(server: Server) -> None:
    for question in QUESTIONS:
        answers = {name: server.say(question, model=name, max_tokens=LONGEST_ANSWER) for name in SAME_NUMBERS}
        assert len({answer["response"] for answer in answers.values()}) == 1, answers
        assert len({answer["usage"]["prompt_tokens"] for answer in answers.values()}) == 1
        assert len({answer["finish_reason"] for answer in answers.values()}) == 1


def test_it_says_how_many_it_answers_at_a_time(server: Server) -> None:
    for name in MODELS:
        server.say("Bonjour", model=name, max_tokens=1)
        (facts,) = [one for one in server.get("/api/v1/models").json()["models"] if one["name"] == name]
        assert (facts["max_sequences"] == 1) == (name in ONE_AT_A_TIME), facts


def test_stream(server: Server, model: str) -> None:
    body = {"model": model, "prompt": QUESTIONS[2], "temperature": 0, "cache": "never", "stream": True}
    with server.stream(body) as stream:
        events = list(stream)
    text = "".join(event.get("delta", "") for event in events)
    assert len(events) > 5
    assert server.say(QUESTIONS[2], model=model)["response"] == text


def test_cancel(server: Server, model: str) -> None:
    expected = server.say(QUESTIONS[3], model=model)["response"]
    before = server.metric("neo_generated_tokens_total", model=model)
    with server.stream({**ENDLESS, "model": model, "stream": True, "cache": "never"}) as events:
        next(events)
    wait_until(lambda: server.metric("neo_requests_running") == 0, "nobody is answered any more")
    assert server.say(QUESTIONS[3], model=model)["response"] == expected
    assert server.metric("neo_generated_tokens_total", model=model) - before < ENDLESS["max_tokens"]


def test_stop(server: Server, model: str) -> None:
    whole = server.say(QUESTIONS[2], model=model)["response"]
    word = whole.split()[4]
    answer = server.say(QUESTIONS[2], model=model, stop=[word])
    assert answer["response"] == whole.partition(word)[0]
    assert answer["finish_reason"] == "stop"


def test_seed(server: Server, model: str) -> None:
    wild = {"model": model, "temperature": 2.0, "top_p": 1.0, "max_tokens": 40, "ignore_eos": True}
    answers = [server.say(QUESTIONS[1], **wild, seed=seed)["response"] for seed in (11, 11, 12, 13, 14)]
    assert answers[0] == answers[1]
    assert len(set(answers)) > 1


def test_long_prompt(server: Server, model: str) -> None:
    prompt = " ".join([SYSTEM] * 14) + " " + QUESTIONS[2]
    answer = server.say(prompt, model=model, max_tokens=4)
    assert 1_000 < answer["usage"]["prompt_tokens"] < 2_048
    assert answer["usage"]["completion_tokens"] >= 1
    longer = {"model": model, "prompt": " ".join([prompt] * 3)}
    refused = server.post("/api/v1/chat", longer)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"


def test_eight_at_once(server: Server, model: str) -> None:
    def ask(question: str) -> str:
        answer: str = server.say(question, model=model, max_tokens=16)["response"]
        return answer

    alone = [ask(question) for question in QUESTIONS]
    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        assert list(pool.map(ask, QUESTIONS)) == alone


def test_structured_answers(server: Server, model: str) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [1, 2]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    body = {"model": model, "messages": [{"role": "user", "content": "Bonjour"}], "response_format": form}
    response = server.post("/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    assert json.loads(response.json()["choices"][0]["message"]["content"])["n"] in {1, 2}


def test_crash(server: Server, model: str, paths: dict[str, Path]) -> None:
    before = server.say(QUESTIONS[4], model=model, max_tokens=16)["response"]
    with server.stream({**ENDLESS, "model": model, "stream": True, "cache": "never"}) as events:
        next(events)
        killed = engine_of(server, paths[model])
        os.kill(killed.pid, signal.SIGKILL)
        for other in others_than(model):
            assert server.say(QUESTIONS[0], model=other, max_tokens=2)["response"]
        assert list(events)[-1]["error"]["code"] == "engine_unavailable"
    assert server.say(QUESTIONS[4], model=model, max_tokens=16)["response"] == before
    assert engine_of(server, paths[model]).pid != killed.pid


def memory_of(server: Server) -> int:
    """Bytes in RAM of the service with all its engines."""
    parent = psutil.Process(server.process.pid)
    return sum(int(process.memory_info().rss) for process in [parent, *parent.children(recursive=True)])


def test_unload_returns_the_memory(server: Server, model: str, paths: dict[str, Path]) -> None:
    server.say("Bonjour", model=model, max_tokens=1)
    assert server.post("/api/v1/models/unload", {"model": model}).status_code == 200
    before = memory_of(server)
    assert server.post("/api/v1/models/load", {"model": model}).status_code == 200
    server.say(QUESTIONS[0], model=model)
    engine = engine_of(server, paths[model])
    assert memory_of(server) > before
    assert server.post("/api/v1/models/unload", {"model": model}).status_code == 200
    assert not engine.is_running()
    assert memory_of(server) <= before * (1 + MEMORY_TOLERANCE)
