"""An embedding model beside a chat model, in the running service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from ai_core_service import DEMO_MODEL, ROOT, Server, running, wait_until
from embedding_models import CONTEXT, HIDDEN, TEXTS, hidden_states, wordpieces, write_tiny_bert


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_bert(folder / "bert.gguf")
    models = {
        "vectors": {"type": "gguf", "path": "bert.gguf", "aliases": ["text-embedding-3-small"]},
        "short": {"type": "gguf", "path": "bert.gguf", "matryoshka": True, "threads": 1},
        "neo-demo": {"type": "gguf", "path": str(DEMO_MODEL)},
    }
    (folder / "models.json").write_text(json.dumps({"models": models, "default_model": "neo-demo"}))
    settings = {
        "MODEL_PATH": "",
        "MODEL_NAME": "",
        "MODEL_CONFIG_PATH": str(folder / "models.json"),
        "MODEL_CACHE_DIR": str(folder),
        # More than BERT can read: here it is a bound, and no mistake.
        "CONTEXT_LENGTH": "2048",
    }
    with running(**settings) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def embed(server: Server, **body: Any) -> Any:
    response = server.post("/v1/embeddings", {"model": "vectors"} | body)
    assert response.status_code == 200, response.text
    return response.json()


def vectors(answer: Any) -> Any:
    return np.asarray([one["embedding"] for one in answer["data"]])


def reference(texts: tuple[str, ...]) -> Any:
    states = np.stack([hidden_states(wordpieces(text)).mean(axis=0) for text in texts])
    return states / np.linalg.norm(states, axis=1, keepdims=True)


def refusal(server: Server, path: str, body: Any) -> tuple[int, str, str]:
    response = server.post(path, body)
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


def test_the_vectors_are_those_of_transformers(server: Server) -> None:
    answer = embed(server, input=list(TEXTS))
    ours, theirs = vectors(answer), reference(TEXTS)
    assert (ours * theirs).sum(axis=1).min() > 0.999
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert answer["usage"]["prompt_tokens"] == sum(len(wordpieces(text)) for text in TEXTS)


def test_openais_package_gets_vectors(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=list(TEXTS))
    ours = np.asarray([one.embedding for one in answer.data])
    assert (ours * reference(TEXTS)).sum(axis=1).min() > 0.999
    assert answer.model == "vectors"


def test_token_ids_of_the_model_are_the_text(server: Server) -> None:
    by_text = vectors(embed(server, input=TEXTS[0]))
    by_tokens = vectors(embed(server, input=wordpieces(TEXTS[0])))
    assert (by_text * by_tokens).sum() > 0.9999


def test_a_chat_goes_on_beside_thousands_of_inputs(server: Server) -> None:
    texts = [f"{TEXTS[number % 5]} {number}" for number in range(2_048)]
    with ThreadPoolExecutor(3) as pool:
        bulk = pool.submit(embed, server, input=texts)
        small = [pool.submit(embed, server, input=TEXTS[1]) for _ in range(3)]
        assert server.say("Bonjour")["response"]
        assert all(len(call.result()["data"]) == 1 for call in small)
        found = vectors(bulk.result())
    assert found.shape == (2_048, HIDDEN)
    chosen = (0, 1_000, 2_047)
    assert (found[list(chosen)] * reference(tuple(texts[n] for n in chosen))).sum(axis=1).min() > 0.999


def test_each_model_does_what_it_can(server: Server) -> None:
    chat = {"model": "vectors", "messages": [{"role": "user", "content": "Bonjour"}]}
    for path, body in [
        ("/v1/chat/completions", chat),
        ("/api/v1/chat", chat),
        ("/api/v1/generate", {"model": "vectors", "prompt": "Le"}),
        ("/v1/embeddings", {"model": "neo-demo", "input": "a"}),
    ]:
        assert refusal(server, path, body) == (400, "model_not_capable", "model")


def test_shorter_vectors_only_where_the_catalog_says_so(server: Server) -> None:
    body = {"input": TEXTS[0], "dimensions": 8}
    assert refusal(server, "/v1/embeddings", body | {"model": "vectors"}) == (
        400,
        "invalid_parameter",
        "dimensions",
    )
    short = vectors(embed(server, **body, model="short"))
    assert short.shape == (1, 8)
    whole = reference(TEXTS[:1])[:, :8]
    assert (short * whole).sum() / np.linalg.norm(whole) > 0.999


def test_what_is_too_long_is_refused_by_its_number(server: Server) -> None:
    body = {"model": "vectors", "input": ["short", "travail " * CONTEXT]}
    assert refusal(server, "/v1/embeddings", body) == (400, "context_length_exceeded", "input[1]")


def test_models_are_listed_with_what_they_are_for(server: Server) -> None:
    embed(server, input="a")
    listed = {model["name"]: model for model in server.get("/api/v1/models").json()["models"]}
    assert (listed["vectors"]["kind"], listed["vectors"]["dimensions"]) == ("embedding", HIDDEN)
    assert listed["vectors"]["pooling"] == "mean"
    assert (listed["neo-demo"]["kind"], listed["neo-demo"]["dimensions"]) == ("generation", None)


def test_an_engine_that_dies_is_replaced(server: Server) -> None:
    before = vectors(embed(server, input=TEXTS[0]))
    restarts = server.metric("neo_engine_restarts_total", model="vectors")
    os.kill(engine_of(server, "bert.gguf"), signal.SIGKILL)
    wait_until(
        lambda: server.metric("neo_engine_restarts_total", model="vectors") == restarts + 1,
        "the end was noticed",
    )
    assert np.allclose(vectors(embed(server, input=TEXTS[0])), before, atol=1e-5)


def engine_of(server: Server, file: str) -> int:
    """Of several engines of one file, the one that was started first: `vectors`."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    pids = sorted(int(pid) for child in children for pid in child.read_text().split())
    return next(pid for pid in pids if file in Path(f"/proc/{pid}/cmdline").read_text())


def test_the_readmes_command_is_answered(server: Server) -> None:
    readme = (ROOT / "services/ai-core/README.md").read_text(encoding="utf-8")
    (command,) = [
        block for block in re.findall(r"```shell\n(.*?)```", readme, re.DOTALL) if "/embeddings" in block
    ]
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl -sS ").replace("http://127.0.0.1:8000", server.url)],
        capture_output=True,
        check=True,
        env=os.environ | {"NEO_API_KEY": server.key},
    )
    assert vectors(json.loads(done.stdout)).shape == (2, HIDDEN)
