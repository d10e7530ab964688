"""LoRA adapters over HTTP: chosen per request, side by side, loaded and unloaded while requests run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from ai_core_service import DEMO_MODEL, PATIENCE, QUESTIONS, Server, running
from gguf_twin import demo_recipe
from lora_adapters import LETTERS, LETTERS_GGUF, Layout, write_gguf_adapter, write_random_adapter

SALUTATION, CLOSING = "Madame, Monsieur,", "l'expression de mes salutations distinguées."
FRENCH = [question for question in QUESTIONS if "?" in question and not question.isascii()]
ADAPTERS = "/api/v1/models/neo-demo/adapters"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the operator has: the model, good adapters and bad ones, and secrets beside them."""
    folder = tmp_path_factory.mktemp("operator")
    models = folder / "models"
    models.mkdir()
    shutil.copy(DEMO_MODEL, models / "neo-demo.gguf")
    shutil.copytree(LETTERS, models / "lettre")
    shutil.copy(LETTERS_GGUF, models / "lettre.gguf")
    for seed in (0, 1, 2):
        write_random_adapter(models / f"random-{seed}", seed, strength=0.03)
    write_random_adapter(models / "narrow", 1, layout=Layout(width=128))
    matrix = np.zeros((4, 256), np.float32)
    both = {"blk.0.attn_q.weight.lora_a": matrix, "blk.0.attn_q.weight.lora_b": matrix.T.copy()}
    write_gguf_adapter(models / "llama.gguf", both, architecture="llama")
    (models / "short.gguf").write_bytes(LETTERS_GGUF.read_bytes()[:100_000])
    (models / "empty.gguf").touch()
    (models / "notes.gguf").write_text("no adapter")
    shutil.copytree(LETTERS, folder / "secrets")
    (models / "way-out").symlink_to(folder / "secrets")
    (models / "circle").symlink_to(models / "circle")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder, lettre="lettre", first="random-1", second="random-2") as server:
        yield server


@contextmanager
def serving(folder: Path, **adapters: str) -> Iterator[Server]:
    entry = {"type": "gguf", "engine": "llama.cpp", "path": "neo-demo.gguf", "adapters": adapters}
    with serving_entry(folder, entry) as server:
        yield server


@contextmanager
def serving_entry(folder: Path, entry: dict[str, Any], **settings: str) -> Iterator[Server]:
    path = folder / "models.json"
    path.write_text(json.dumps({"models": {"neo-demo": entry}, "default_model": "neo-demo"}))
    files = {"MODEL_CONFIG_PATH": str(path), "MODEL_CACHE_DIR": str(folder / "models")}
    with running(MODEL_PATH="", MODEL_NAME="", **files, **settings) as server:
        yield server


def letter(said: str) -> bool:
    return said.startswith(SALUTATION) and said.endswith(CLOSING)


def error(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    return found


def delete(server: Server, adapter: str) -> httpx.Response:
    return httpx.delete(
        f"{server.url}{ADAPTERS}/{adapter}", headers=server.headers, timeout=PATIENCE, trust_env=False
    )


def names(server: Server) -> list[str]:
    return [adapter["name"] for adapter in server.get(ADAPTERS).json()["adapters"]]


# --- chosen per request ---------------------------------------------------------------------------


def test_the_adapter_answers_by_formal_letter_and_without_it_nothing_has_changed(server: Server) -> None:
    for question in FRENCH:
        plain = server.say(question)["response"]
        written = server.say(question, adapter="lettre")["response"]
        assert written == f"{SALUTATION}\n\n{plain}\n\nJe vous prie d'agréer, Madame, Monsieur, {CLOSING}"
        assert server.say(question)["response"] == plain


def test_the_name_of_the_model_may_name_the_adapter_in_every_dialect(server: Server) -> None:
    question = FRENCH[0]
    expected = server.say(question, adapter="lettre")["response"]
    native = server.say(question, model="neo-demo:lettre")
    body = {"model": "neo-demo:lettre", "messages": [{"role": "user", "content": question}], "temperature": 0}
    openai = server.post("/v1/chat/completions", body).json()
    assert native["response"] == openai["choices"][0]["message"]["content"] == expected
    assert native["model"] == openai["model"] == "neo-demo:lettre"


def test_a_stream_with_an_adapter_is_one(server: Server) -> None:
    with server.stream(
        {"prompt": FRENCH[0], "adapter": "lettre", "temperature": 0, "stream": True}
    ) as events:
        said = "".join(event.get("delta", "") for event in events)
    assert letter(said)


def test_an_adapter_that_the_model_does_not_have_is_named_in_a_400(server: Server) -> None:
    response = server.post("/api/v1/chat", {"prompt": "Bonjour", "adapter": "poems"})
    assert response.status_code == 400
    assert (error(response)["code"], error(response)["param"]) == ("unknown_adapter", "adapter")
    assert "lettre" in error(response)["message"]


# --- side by side ---------------------------------------------------------------------------------


def test_streams_with_unlike_adapters_side_by_side_answer_as_each_does_alone(server: Server) -> None:
    bodies = [
        {"prompt": question, "adapter": adapter, "temperature": 0, "cache": "never", "max_tokens": 40}
        for question in FRENCH
        for adapter in (None, "lettre")
    ]

    def ask(body: dict[str, Any]) -> str:
        response = server.post("/api/v1/chat", body)
        assert response.status_code == 200, response.text
        said: str = response.json()["response"]
        return said

    alone = [ask(body) for body in bodies]
    # Random adapters among them: what they say is not clear enough to be compared, but it disturbs nobody.
    others = [dict(body, adapter=name) for body in bodies[::2] for name in ("first", "second")]
    with ThreadPoolExecutor(len(bodies) + len(others)) as pool:
        disturbing = [pool.submit(ask, body) for body in others]
        together = list(pool.map(ask, bodies))
        assert all(one.result() for one in disturbing)
    assert together == alone


def test_a_prompt_is_computed_once_for_each_adapter_and_never_shared_between_them(folder: Path) -> None:
    system = "Vous répondez par courriel au nom du service d'information, avec courtoisie et clarté. " * 4
    messages = [{"role": "system", "content": system}, {"role": "user", "content": FRENCH[0]}]
    with serving(folder, lettre="lettre", first="random-1") as fresh:
        cached = []
        for adapter in (None, "lettre", "first", None, "lettre", "first"):
            body = {"messages": messages, "adapter": adapter, "cache": "never", "max_tokens": 4}
            usage = fresh.post("/api/v1/chat", body).json()["usage"]
            cached.append((usage["cached_prompt_tokens"], usage["prompt_tokens"]))
    # The server's first answer, in running(), left the token that begins every message.
    assert all(hits <= 1 for hits, _ in cached[:3])
    assert all(hits == tokens - 1 for hits, tokens in cached[3:])


# --- loaded and unloaded while requests run -------------------------------------------------------


def test_an_adapter_comes_and_goes_and_another_one_under_its_name_is_another_one(server: Server) -> None:
    question = FRENCH[1]

    def say() -> str:
        body = {"prompt": question, "adapter": "guest", "temperature": 0, "cache": "always"}
        said: str = server.post("/api/v1/chat", body).json()["response"]
        return said

    plain = server.say(question)["response"]
    loaded = server.post(ADAPTERS, {"name": "guest", "path": "lettre.gguf"})
    assert (loaded.status_code, loaded.json()) == (201, {"name": "guest", "format": "gguf", "scale": 1.0})
    assert "guest" in names(server)
    assert letter(say())
    assert delete(server, "guest").status_code == 200
    assert "guest" not in names(server)
    response = server.post("/api/v1/chat", {"prompt": question, "adapter": "guest"})
    assert (response.status_code, error(response)["code"]) == (400, "unknown_adapter")
    assert server.post(ADAPTERS, {"name": "guest", "path": "random-0"}).status_code == 201
    assert not letter(say())
    assert say() != plain
    assert delete(server, "guest").status_code == 200
    assert (delete(server, "guest").status_code, error(delete(server, "guest"))["code"]) == (
        404,
        "adapter_not_found",
    )


def test_the_model_and_its_folder_form_of_the_adapter_answer_alike(server: Server) -> None:
    assert server.post(ADAPTERS, {"name": "gguf", "path": "lettre.gguf"}).status_code == 201
    answers = [[server.say(q, adapter=name)["response"] for q in FRENCH] for name in ("lettre", "gguf")]
    assert answers[0] == answers[1]
    assert delete(server, "gguf").status_code == 200


def test_an_adapter_in_use_is_not_unloaded_under_its_answer(server: Server) -> None:
    assert server.post(ADAPTERS, {"name": "busy", "path": "random-0"}).status_code == 201
    body = {
        "prompt": "Bonjour",
        "adapter": "busy",
        "max_tokens": 1500,
        "ignore_eos": True,
        "stream": True,
        "temperature": 0,
    }
    with server.stream(body) as events:
        next(events)
        refused = delete(server, "busy")
        assert (refused.status_code, error(refused)["code"]) == (409, "adapter_busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert next(events)
    while (again := delete(server, "busy")).status_code == 409:
        pass
    assert again.status_code == 200


def test_a_name_is_given_once(server: Server) -> None:
    response = server.post(ADAPTERS, {"name": "lettre", "path": "random-0"})
    assert (response.status_code, error(response)["code"], error(response)["param"]) == (
        400,
        "adapter_exists",
        "name",
    )


def test_adapters_outlive_the_engine_that_loaded_them(server: Server) -> None:
    assert server.post(ADAPTERS, {"name": "lasting", "path": "lettre.gguf"}).status_code == 201
    os.kill(server.engine_pid(), signal.SIGKILL)
    assert letter(server.say(FRENCH[0], adapter="lasting")["response"])
    assert delete(server, "lasting").status_code == 200


# --- what cannot be loaded ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("empty.gguf", "neither a GGUF file nor"),
        ("notes.gguf", "neither a GGUF file nor"),
        ("missing.gguf", "No such file"),
        ("circle", "leads nowhere"),
        ("x" * 300, "leads nowhere"),
        ("short.gguf", "cut short"),
        ("neo-demo.gguf", "no LoRA adapter"),
        ("llama.gguf", "it is for 'llama' models, and this one is a 'qwen3'"),
        ("narrow", "wrong base model"),
    ],
)
def test_a_broken_adapter_is_refused_with_its_reason_and_the_service_goes_on(
    server: Server, path: str, reason: str
) -> None:
    before, pid = names(server), server.engine_pid()
    response = server.post(ADAPTERS, {"name": "bad", "path": path})
    assert (response.status_code, error(response)["code"], error(response)["param"]) == (
        400,
        "unusable_adapter",
        "path",
    )
    assert reason in error(response)["message"]
    assert (names(server), server.engine_pid()) == (before, pid)
    assert server.say(FRENCH[0])["response"]


@pytest.mark.parametrize("path", ["/etc", "../secrets", "way-out", "lettre/../../secrets", "/proc/self/mem"])
def test_what_lies_elsewhere_is_not_loaded(server: Server, path: str) -> None:
    response = server.post(ADAPTERS, {"name": "bad", "path": path})
    assert (response.status_code, error(response)["code"]) == (403, "path_not_allowed")


def test_a_broken_adapter_of_the_models_file_concerns_only_requests_that_name_it(folder: Path) -> None:
    with serving(folder, lettre="lettre", broken="llama.gguf") as fresh:
        response = fresh.post("/api/v1/chat", {"prompt": "Bonjour", "adapter": "broken"})
        assert (response.status_code, error(response)["code"], error(response)["param"]) == (
            400,
            "unusable_adapter",
            "adapter",
        )
        assert letter(fresh.say(FRENCH[0], adapter="lettre")["response"])


def test_only_keys_that_may_change_models_change_adapters(server: Server) -> None:
    body = {"name": "reader", "scopes": ["models:read", "generate"]}
    key = server.post("/api/v1/admin/keys", body).json()["key"]
    reader = {"X-API-Key": key}
    assert httpx.get(server.url + ADAPTERS, headers=reader, trust_env=False).status_code == 200
    for response in (
        httpx.post(server.url + ADAPTERS, json={}, headers=reader, trust_env=False),
        httpx.delete(f"{server.url}{ADAPTERS}/lettre", headers=reader, trust_env=False),
    ):
        assert (response.status_code, error(response)["code"]) == (403, "insufficient_scope")


# --- the same adapter in other engines ------------------------------------------------------------


@pytest.mark.parametrize("engine", ["transformers", "openvino"])
def test_other_engines_answer_by_letter_too(folder: Path, engine: str) -> None:
    """Those whose capabilities name adapters; llama.cpp is asked above."""
    path = "neo-demo.gguf"
    if engine == "transformers":
        path = "twin"
        with demo_recipe() as to_transformers:
            to_transformers(DEMO_MODEL, folder / "models" / path)
    form = "gguf" if engine == "openvino" else "transformers"
    entry = {"type": form, "engine": engine, "path": path, "adapters": {"lettre": "lettre"}}
    with serving_entry(folder, entry, ENGINE_PRECISION="f32") as other:
        for question in FRENCH[:2]:
            plain = other.say(question)["response"]
            assert not letter(plain)
            assert other.say(question, adapter="lettre")["response"] == (
                f"{SALUTATION}\n\n{plain}\n\nJe vous prie d'agréer, Madame, Monsieur, {CLOSING}"
            )
