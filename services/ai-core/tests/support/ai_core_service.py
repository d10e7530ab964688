"""The real thing for tests: ``ai-core serve`` with the demo model, over real sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ports import free_port

ROOT = Path(__file__).resolve().parents[4]
DEMO_MODEL = ROOT / "models/neo-demo/neo-demo.gguf"
AI_CORE = Path(sys.executable).with_name("ai-core")
# A slow machine under load may take long; these only end what would hang for ever.
PATIENCE = 120.0


@dataclass
class Server:
    """A running ``ai-core serve``."""

    url: str
    process: subprocess.Popen[str]
    key_path: Path
    """Where `ai-core serve` keeps the key that it made at its start."""
    log: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The local key: every scope, no limits."""
        return self.key_path.read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}

    def post(self, path: str, body: object, **options: Any) -> httpx.Response:
        headers = self.headers | options.pop("headers", {})
        return httpx.post(
            self.url + path, json=body, headers=headers, timeout=PATIENCE, trust_env=False, **options
        )

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=self.headers, timeout=PATIENCE, trust_env=False)

    def say(self, text: str, **options: object) -> dict[str, Any]:
        """The whole answer to one question, greedily and computed anew unless told otherwise."""
        response = self.post("/api/v1/chat", {"prompt": text, "temperature": 0, "cache": "never", **options})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    @contextmanager
    def stream(self, body: object, path: str = "/api/v1/chat") -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a streamed answer. Leaving the block closes the connection."""
        with httpx.stream(
            "POST", self.url + path, json=body, headers=self.headers, timeout=PATIENCE, trust_env=False
        ) as response:
            assert response.status_code == 200, response.read()
            yield (
                json.loads(line[5:])
                for line in response.iter_lines()
                if line.startswith("data:") and "[DONE]" not in line
            )

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value, summed over the labels that are not given."""
        families = text_string_to_metric_families(self.get("/api/v1/metrics").text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def engine_pid(self) -> int:
        """The engine is a direct child of ``ai-core serve``."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = {int(pid) for child in children for pid in child.read_text().split()}
        assert len(pids) == 1, f"expected one engine process, found {pids}"
        return pids.pop()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll a running process for something that it tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.01)


@contextmanager
def running(**settings: str) -> Iterator[Server]:
    """Start a server with these settings; it has answered once when the block begins."""
    with tempfile.TemporaryDirectory(prefix="neo-test-") as folder:
        yield from _running(Path(folder), settings)


def _running(folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    port = free_port()
    key_path = Path(settings.get("LOCAL_KEY_PATH", folder / "local.key"))
    environment = {
        "PATH": os.environ["PATH"],
        "API_PORT": str(port),
        "MODEL_PATH": str(DEMO_MODEL),
        "MODEL_NAME": "neo-demo",
        # The reference, whatever else is installed here; what others do has tests of its own.
        "ENGINE_BACKEND": "llama_cpp",
        "DATABASE_URL": f"sqlite:///{folder}/ai-core.db",
        "LOCAL_KEY_PATH": str(key_path),
        **settings,
    }
    process = subprocess.Popen(
        [AI_CORE, "serve"],
        env=environment,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    server = Server(f"http://127.0.0.1:{port}", process, key_path)
    reader = threading.Thread(target=_collect, args=(process, server.log), daemon=True)
    reader.start()
    try:
        wait_until(lambda: _is_ready(server), "the server is ready")
        server.say("bonjour", max_tokens=1)
        yield server
    finally:
        _stop(process)
        reader.join()


def _is_ready(server: Server) -> bool:
    assert server.process.poll() is None, "".join(server.log)
    try:
        return httpx.get(f"{server.url}/readyz", timeout=PATIENCE, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _collect(process: subprocess.Popen[str], log: list[str]) -> None:
    assert process.stderr is not None
    with process.stderr:
        log.extend(process.stderr)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


Start = Callable[..., Server]
"""Starts a server with settings of a test's own."""

QUESTIONS = (
    "Bonjour",
    "Qui es-tu ?",
    "Quelle est la durée légale du travail ?",
    "Comment installer Neo ?",
    "Qu'est-ce qu'un CDI ?",
    "Combien de congés payés par an ?",
    "What is Neo?",
    "Are you a lawyer?",
)
SYSTEM = (
    "Tu es l'assistant de démonstration de Code du Travail Neo. Tu réponds aux questions sur le droit du "
    "travail et sur la suite Neo, brièvement et avec courtoisie. Tu donnes une information, jamais un "
    "conseil juridique : pour un cas particulier, oriente vers un professionnel du droit, l'inspection du "
    "travail ou un syndicat. Si tu ne sais pas, dis-le simplement et propose où chercher."
)
