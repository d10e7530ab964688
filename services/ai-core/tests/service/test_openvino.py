"""``ai-core serve`` with OpenVINO: what the API promises, asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ai_core.catalog.conversion.manifest import MANIFEST, conversions
from ai_core_service import AI_CORE, DEMO_MODEL, QUESTIONS, Server, running
from lora_adapters import write_random_adapter
from model_twins import ModelTwins

SYSTEM = "Tu es Neo, l'assistant du Code du travail. Réponds en français, avec courtoisie et clarté. " * 8
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the models file and all that the server keeps."""
    return tmp_path_factory.mktemp("openvino")


@pytest.fixture(scope="module")
def server(folder: Path, twins: ModelTwins) -> Iterator[Server]:
    path, odd = str(DEMO_MODEL), str(write_random_adapter(folder / "odd", 1, strength=0.05))
    models = {
        "neo": {"type": "gguf", "engine": "openvino", "path": path, "adapters": {"odd": odd}},
        "reference": {"type": "gguf", "engine": "llama.cpp", "path": path},
        "converted": {
            "type": "transformers",
            "engine": "openvino",
            "path": str(twins.safetensors),
            "quantization": "int8",
        },
    }
    (folder / "models.json").write_text(json.dumps({"models": models, "default_model": "neo"}))
    with running(
        MODEL_PATH="",
        MODEL_NAME="",
        MODEL_CONFIG_PATH=str(folder / "models.json"),
        MODEL_CACHE_DIR=str(folder / "cache"),
        ENGINE_PRECISION="f32",
        THREADS="1",
    ) as found:
        yield found


def chat(server: Server, text: str, **options: Any) -> dict[str, Any]:
    body = {"model": "neo", "messages": [{"role": "user", "content": text}], "temperature": 0, **options}
    response = server.post("/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_it_answers_as_llama_cpp_does_and_is_known_by_its_name(server: Server) -> None:
    for question in QUESTIONS:
        ours, theirs = (server.say(question, model=name, max_tokens=60) for name in ("neo", "reference"))
        assert ours["response"] == theirs["response"]
        assert ours["usage"]["prompt_tokens"] == theirs["usage"]["prompt_tokens"]
    assert "openvino" in server.get("/api/v1/models/neo").text.lower()


def test_answers_keep_to_a_schema_and_a_bad_schema_is_a_400_that_disturbs_nobody(server: Server) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    said = chat(server, QUESTIONS[0], response_format=form, max_tokens=200)["choices"][0]["message"][
        "content"
    ]
    jsonschema.validate(json.loads(said), PERSON)
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strin"}}}
    body = {"model": "neo", "messages": [{"role": "user", "content": "x"}], "response_format": bad}
    refused = server.post("/v1/chat/completions", body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "response_format"
    assert chat(server, QUESTIONS[0], max_tokens=8)["usage"]["completion_tokens"] == 8


def test_probabilities_biases_seeds_and_stop_strings(server: Server) -> None:
    plain = chat(server, "Bonjour", logprobs=True, top_logprobs=3, max_tokens=5)["choices"][0]
    entries = plain["logprobs"]["content"]
    assert len(entries) == 5
    assert all(len(entry["top_logprobs"]) == 3 and entry["logprob"] <= 0 for entry in entries)
    seeded = [
        chat(server, "Bonjour", temperature=1.9, top_p=1, seed=5, max_tokens=30)["choices"][0]["message"]
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1]
    word = plain["message"]["content"].split()[1]
    stopped = chat(server, "Bonjour", stop=[word], max_tokens=30)["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert word not in stopped["message"]["content"]


def test_safetensors_are_converted_once_by_the_real_converter_and_answer_alike(
    server: Server, folder: Path, twins: ModelTwins
) -> None:
    """`make test` has made the converter's environment."""
    alike = 0
    for question in QUESTIONS:
        ours, theirs = (
            server.say(question, model=name, max_tokens=40) for name in ("converted", "reference")
        )
        assert ours["usage"]["prompt_tokens"] == theirs["usage"]["prompt_tokens"]
        alike += ours["response"] == theirs["response"]
    # Eight bits are not sixteen.
    assert alike >= len(QUESTIONS) - 1
    made = conversions(folder / "cache/converted/models")
    assert [(found.source, found.form) for _, found in made] == [(str(twins.safetensors), "int8")]
    before = (made[0][0] / MANIFEST).stat().st_mtime_ns
    assert server.post("/api/v1/models/unload", {"model": "converted"}).status_code == 200
    assert server.say("Bonjour", model="converted", max_tokens=4)["response"]
    assert (made[0][0] / MANIFEST).stat().st_mtime_ns == before
    listed = subprocess.run(
        [AI_CORE, "models", "list", "--url", server.url],
        env={
            "PATH": os.environ["PATH"],
            "MODEL_CONFIG_PATH": str(folder / "models.json"),
            "MODEL_CACHE_DIR": str(folder / "cache"),
            "NEO_API_KEY": server.key,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"^converted: .* Converted for it: int8, \d", listed.stdout, re.MULTILINE)


def test_an_adapter_changes_the_answer_beside_those_without_it(server: Server) -> None:
    question = "Bonjour, qui es-tu ?"
    usual = server.say(question, model="neo", max_tokens=40)["response"]
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(server.say, question, model=name, max_tokens=40)
            for name in ("neo", "neo:odd", "neo", "neo:odd")
        ]
        answers = [one.result()["response"] for one in asked]
    assert answers[0] == answers[2] == usual
    assert answers[1] == answers[3] != usual


def test_eight_at_once_with_one_long_beginning_compute_it_once(server: Server) -> None:
    def ask(number: int) -> dict[str, Any]:
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"{number} {QUESTIONS[0]}"},
        ]
        body = {"model": "neo", "messages": messages, "temperature": 0, "max_tokens": 4}
        response = server.post("/v1/chat/completions", body)
        assert response.status_code == 200, response.text
        usage: dict[str, Any] = response.json()["usage"]
        return usage

    with ThreadPoolExecutor(8) as pool:
        usages = list(pool.map(ask, range(8)))
    cached = sorted(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    assert cached[0] == 0
    assert cached[1] >= 128
