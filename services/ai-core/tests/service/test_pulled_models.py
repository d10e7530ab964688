"""A model that comes from the hub while the server runs: pulled over HTTP, answers, is listed, leaves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import httpx
import pytest

from ai_core_service import AI_CORE, DEMO_MODEL, PATIENCE, Server, running
from fake_hub import FakeHub, fake_hub

REPOSITORY = "neo/demo-GGUF"
TOKEN = "hf_token_of_the_operator"


class Place(NamedTuple):
    """A server with a model that is not here yet, and the hub that has it."""

    server: Server
    hub: FakeHub
    environment: dict[str, str]

    def command(self, *arguments: str, status: int = 0) -> str:
        """What `ai-core models` prints, beside the running server."""
        done = subprocess.run(
            [AI_CORE, "models", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("pulled")
    models = {
        "local": {"type": "gguf", "path": str(DEMO_MODEL)},
        "neo": {"type": "gguf", "path": REPOSITORY, "aliases": ["from-the-hub"]},
    }
    listed = folder / "models.json"
    listed.write_text(json.dumps({"models": models, "default_model": "local"}))
    secret = folder / "token"
    secret.write_text(TOKEN + "\n")
    with fake_hub() as hub:
        hub.add(REPOSITORY, {"neo-Q8_0.gguf": DEMO_MODEL.read_bytes()}, token=TOKEN)
        settings = {
            "MODEL_CONFIG_PATH": str(listed),
            "MODEL_CACHE_DIR": str(folder / "models"),
            "MODEL_PATH": "",
            "MODEL_NAME": "",
            "ENGINE_BACKEND": "llama_cpp",
            "THREADS": "1",
            "MAX_SEQUENCES": "2",
            "LOCAL_KEY_PATH": str(folder / "local.key"),
            "HF_ENDPOINT": hub.url,
            "HUGGINGFACE_TOKEN_FILE": str(secret),
            "NO_PROXY": "127.0.0.1",
        }
        with running(**settings) as server:
            port = server.url.rpartition(":")[2]
            environment = {"PATH": os.environ["PATH"], "COLUMNS": "160", **settings, "API_PORT": port}
            yield Place(server, hub, environment)
            assert TOKEN not in "".join(server.log)
        assert hub.refused == []


def test_a_model_is_pulled_answers_is_listed_and_is_removed(place: Place) -> None:
    server = place.server
    before = server.post("/api/v1/chat", {"model": "neo", "prompt": "Bonjour"})
    assert before.status_code == 503, before.text
    assert "ai-core models pull neo" in before.json()["error"]["message"]
    with server.stream({"name": "from-the-hub"}, "/api/v1/models/pull") as events:
        last = [*events][-1]
    assert (last["status"], last["total"]) == ("done", DEMO_MODEL.stat().st_size)
    # Two models in memory may not change each other's answers; the same file gives the same.
    said = server.say("Bonjour", model="neo", max_tokens=20)["response"]
    assert said == server.say("Bonjour", model="local", max_tokens=20)["response"]

    listing = place.command("list")
    row = next(line for line in listing.splitlines() if line.startswith("neo "))
    name, *size, type_, stored, engine, state, memory, unit, day, time = row.split()
    assert (size, type_, stored, state) == (["8.5", "MB"], "gguf", "F16", "ready")
    facts = {one["name"]: one for one in server.get("/api/v1/models").json()["models"]}[name]
    assert engine == facts["engine"]
    assert f"{name}: {facts['engine_reason']}" in listing
    assert abs(float(memory) * 1e6 - facts["memory_bytes"]) < 1e7
    assert unit == "MB"
    last_used = datetime.fromisoformat(facts["last_used_at"]).astimezone()
    assert f"{day} {time}" == f"{last_used:%Y-%m-%d %H:%M}"

    refusal = place.command("remove", "neo", "--yes", status=1)
    assert "unload it first" in refusal
    assert "Removed: neo, 8.5 MB." in place.command("remove", "neo", "--yes", "--unload")
    after = server.post("/api/v1/chat", {"model": "neo", "prompt": "Bonjour"})
    assert after.status_code == 503, after.text


def delete(place: Place, name: str) -> httpx.Response:
    server = place.server
    url = f"{server.url}/api/v1/models/{name}"
    return httpx.delete(url, headers=server.headers, timeout=PATIENCE, trust_env=False)


def test_what_the_command_fetches_is_served_at_once_and_deleted_over_http(place: Place) -> None:
    place.command("pull", "neo")
    assert place.server.say("Bonjour", model="neo", max_tokens=5)["response"]
    resident = delete(place, "neo")
    assert (resident.status_code, resident.json()["error"]["code"]) == (409, "model_resident")
    assert place.server.post("/api/v1/models/unload", {"model": "neo"}).status_code == 200
    size = DEMO_MODEL.stat().st_size
    assert delete(place, "neo").json() == {"name": "neo", "was_here": True, "freed_bytes": size}
    assert delete(place, "neo").json() == {"name": "neo", "was_here": False, "freed_bytes": 0}
    assert delete(place, "local").status_code == 400
    assert DEMO_MODEL.is_file()
    assert place.server.post("/api/v1/chat", {"model": "neo", "prompt": "Bonjour"}).status_code == 503


def test_what_is_quantized_beside_it_is_a_model_of_its_own(place: Place) -> None:
    assert "quantiz" in place.command("quantize", "local", "Q4_0")
    assert place.server.say("Bonjour", model="local-q4_0", max_tokens=5)["model"] == "local-q4_0"
