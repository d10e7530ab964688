"""The models file of a running service: read again, with requests under way."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ai_core_service import DEMO_MODEL, Server, running, wait_until

LONG = {"prompt": "Bonjour", "max_tokens": 1500, "ignore_eos": True, "stream": True, "temperature": 0}
DEMO: dict[str, Any] = {"type": "gguf", "path": str(DEMO_MODEL), "max_sequences": 4}
QUESTION = "Qu'est-ce qu'un CDI ?"


@dataclass
class Service:
    """A server and its models file."""

    server: Server
    folder: Path

    def write(self, models: dict[str, Any], **further: Any) -> None:
        document = {"models": models, **further}
        (self.folder / "models.json").write_text(json.dumps(document, indent=1), encoding="utf-8")

    def reload(self, models: dict[str, Any], **further: Any) -> Any:
        self.write(models, **further)
        return self.server.post("/api/v1/admin/models/reload", None).json()

    def state(self, name: str) -> str:
        return str(self.server.get(f"/api/v1/models/{name}").json()["state"])

    def names(self) -> list[str]:
        return [model["name"] for model in self.server.get("/api/v1/models").json()["models"]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("models")
    service = Service(None, folder)  # type: ignore[arg-type]
    service.write({"demo": DEMO})
    settings = {"MODEL_CONFIG_PATH": str(folder / "models.json"), "MODEL_CACHE_DIR": str(folder)}
    with running(MODEL_PATH="", MODEL_NAME="", **settings) as server:
        service.server = server
        yield service


@pytest.fixture
def service(shared: Service) -> Service:
    """With the demo model alone, as `demo`."""
    shared.reload({"demo": DEMO})
    return shared


def test_a_model_that_is_added_answers_and_those_before_are_not_disturbed(service: Service) -> None:
    with service.server.stream(LONG | {"max_tokens": 300}) as events:
        next(events)
        pid = service.server.engine_pid()
        changes = service.reload({"demo": DEMO, "twin": DEMO | {"aliases": ["second"]}})
        assert changes == {"added": ["twin"], "changed": [], "removed": [], "unchanged": ["demo"]}
        assert service.server.say("Bonjour", model="second")["model"] == "twin"
        assert list(events)[-1]["finish_reason"] == "length"
    assert service.state("demo") == "ready"
    service.reload({"demo": DEMO})
    wait_until(lambda: len(engines(service.server)) == 1, "the twin's engine has ended")
    assert engines(service.server) == {pid}


def test_a_model_that_is_removed_finishes_its_answer_and_then_ends(service: Service) -> None:
    service.reload({"demo": DEMO, "going": DEMO})
    with service.server.stream(LONG | {"model": "going", "max_tokens": 300}) as events:
        next(events)
        assert service.reload({"demo": DEMO})["removed"] == ["going"]
        refused = service.server.post("/api/v1/chat", {"prompt": "x", "model": "going"})
        assert refused.status_code == 404
        assert list(events)[-1]["finish_reason"] == "length"
    assert service.names() == ["demo"]
    wait_until(lambda: len(engines(service.server)) == 1, "its engine has ended")


def test_a_model_that_is_configured_otherwise_is_loaded_anew_for_the_next(service: Service) -> None:
    service.server.say("Bonjour")
    with service.server.stream(LONG | {"max_tokens": 200}) as events:
        next(events)
        assert service.reload({"demo": DEMO | {"context_length": 512}})["changed"] == ["demo"]
        assert list(events)[-1]["finish_reason"] == "length"
    service.server.say("Bonjour")
    assert service.server.get("/api/v1/models/demo").json()["context_length"] == 512


def test_a_file_with_a_mistake_changes_nothing_and_names_its_line(service: Service) -> None:
    service.server.say("Bonjour")
    pid = service.server.engine_pid()
    path = service.folder / "models.json"
    path.write_text('{"models": {\n"demo": {"type": "gguf",\n"pth": "x"}}}')
    refused = service.server.post("/api/v1/admin/models/reload", None)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["code"] == "invalid_models_file"
    assert "line 3: 'models.demo.pth'" in error["message"]
    assert service.server.say("Bonjour")["model"] == "demo"
    assert service.server.engine_pid() == pid


def test_sighup_reads_the_file_again(service: Service) -> None:
    service.write({"demo": DEMO | {"aliases": ["hung-up"]}})
    service.server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.server.get("/v1/models/hung-up").status_code == 200, "the alias is known")
    (service.folder / "models.json").write_text("{")
    service.server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("models not reloaded" in line for line in service.server.log), "it is logged")
    assert service.server.say("Bonjour", model="hung-up")["model"] == "demo"


def test_a_model_whose_file_is_missing_is_listed_and_served_as_soon_as_it_is_there(service: Service) -> None:
    late = {"type": "gguf", "path": "late.gguf"}
    service.reload({"demo": DEMO, "late": late})
    assert service.state("late") == "not_fetched"
    refused = service.server.post("/api/v1/chat", {"prompt": "x", "model": "late"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_not_fetched")
    shutil.copy(DEMO_MODEL, service.folder / "late.gguf")
    assert service.server.say("Bonjour", model="late")["model"] == "late"
    assert service.server.get("/api/v1/models/late").json()["files"]["architecture"] == "qwen3"
    (service.folder / "late.gguf").unlink()


def test_a_model_of_the_hub_that_was_not_fetched_says_what_fetches_it(service: Service) -> None:
    service.reload({"demo": DEMO, "hub": {"type": "gguf", "path": "some/where"}})
    refused = service.server.post("/api/v1/chat", {"prompt": "x", "model": "hub"})
    assert "ai-core models pull hub" in refused.json()["error"]["message"]


def test_the_fallback_of_a_model_without_files_answers_and_says_so(service: Service) -> None:
    service.reload({"demo": DEMO, "large": {"type": "gguf", "path": "none.gguf", "fallback": "demo"}})
    answer = service.server.say(QUESTION, model="large")
    assert answer["model"] == "demo"
    assert answer["response"] == service.server.say(QUESTION)["response"]


def test_the_fallback_of_a_model_that_cannot_be_loaded_answers_and_streams(service: Service) -> None:
    (service.folder / "cut.gguf").write_bytes(DEMO_MODEL.read_bytes()[:2_000_000])
    broken = {"type": "gguf", "path": "cut.gguf", "fallback": "demo"}
    service.reload({"demo": DEMO, "broken": broken})
    assert service.server.say(QUESTION, model="broken")["model"] == "demo"
    assert service.state("broken") == "parked"
    assert "cut short" in service.server.get("/api/v1/models/broken").json()["files"]["problem"]
    body = {"model": "broken", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    with service.server.stream(body, "/v1/chat/completions") as events:
        assert {event["model"] for event in events} == {"demo"}


def test_the_models_defaults_count_where_the_request_says_nothing(service: Service) -> None:
    service.reload({"demo": DEMO | {"sampling": {"temperature": 0, "max_tokens": 3}}})
    bare = {"messages": [{"role": "user", "content": QUESTION}]}
    usages = [
        service.server.post("/v1/chat/completions", body).json()["usage"]["completion_tokens"]
        for body in (bare, bare | {"max_tokens": 5})
    ]
    assert usages == [3, 5]


def test_the_models_system_prompt_is_read_by_the_model(service: Service) -> None:
    changed = service.reload({"demo": DEMO | {"system_prompt": "Réponds en une seule phrase, poliment."}})
    assert changed["changed"] == ["demo"]
    prompted = service.server.say("Bonjour", max_tokens=1)["tokens_used"]
    own = [{"role": "system", "content": ""}, {"role": "user", "content": "Bonjour"}]
    body = {"messages": own, "max_tokens": 1, "temperature": 0}
    overridden = service.server.post("/api/v1/chat", body).json()["tokens_used"]
    assert prompted > overridden


def test_another_chat_template_is_used_instead_of_the_models_own(service: Service) -> None:
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    before = service.server.say("Bonjour", max_tokens=1)["tokens_used"]
    service.reload({"demo": DEMO | {"chat_template": template}})
    assert service.server.say("Bonjour", max_tokens=1)["tokens_used"] < before


def test_everything_is_told_about_one_model(service: Service) -> None:
    service.server.say("Bonjour")
    told = service.server.get("/api/v1/models/demo").json()
    assert (told["type"], told["engine"]) == ("gguf", "llama.cpp")
    assert told["engine_reason"]
    assert told["files"]["size_bytes"] == DEMO_MODEL.stat().st_size
    assert told["memory"]["resident_bytes"] > told["memory"]["weights_bytes"] > 0
    assert told["path"] == str(DEMO_MODEL)


def engines(server: Server) -> set[int]:
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return {int(pid) for child in children for pid in child.read_text().split()}
