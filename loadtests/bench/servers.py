"""Servers under test: ours and, when there is one, llama-server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

PARALLEL = 8
CELLS = 16_384
START_SECONDS = 180


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    command: list[str]
    headers: dict[str, str] = field(default_factory=dict)
    """With a key, where the server asks for one."""


def free_port() -> int:
    """A free port below the ephemeral range, where no outgoing connection can take it."""
    for port in range(20_000, 32_000):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 32000")


@contextmanager
def neo(model: Path, log: Path, **settings: str) -> Iterator[Server]:
    """Our server, as its users start it."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="neo-bench-") as folder:
        key = Path(folder, "local.key")
        environment = _environment(port, model, Path(folder), key, settings)
        if model.is_dir():
            del environment["MODEL_PATH"], environment["MODEL_NAME"]
            environment["MODEL_CONFIG_PATH"] = str(_converted_once(model, Path(folder)))
        command = [str(Path(sys.executable).with_name("ai-core")), "serve"]
        with _running("neo", port, command, environment, log, "/readyz") as started:
            server = replace(started, headers={"X-API-Key": key.read_text().strip()})
            _wait_for_an_answer(server)
            yield server


def _environment(port: int, model: Path, folder: Path, key: Path, settings: dict[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        "API_PORT": str(port),
        "MODEL_PATH": str(model),
        "MODEL_NAME": "bench",
        "LOG_LEVEL": "warning",
        "MAX_SEQUENCES": str(PARALLEL),
        "KV_CELLS": str(CELLS),
        "DATABASE_URL": f"sqlite:///{folder}/ai-core.db",
        "LOCAL_KEY_PATH": str(key),
        **settings,
    }


def _converted_once(model: Path, folder: Path) -> Path:
    """A models file for a folder of safetensors, to be converted for OpenVINO."""
    entry = {
        "type": "transformers",
        "path": str(model.resolve()),
        "engine": "openvino",
        "quantization": "int8",
    }
    path = folder / "models.json"
    path.write_text(json.dumps({"models": {"bench": entry}}))
    return path


@contextmanager
def llama_server(binary: Path, model: Path, log: Path, threads: int) -> Iterator[Server]:
    """llama-server with the flags that suit these loads best: continuous batching, one shared KV
    cache, flash attention, the same threads and cells."""
    port = free_port()
    command = [
        *[str(binary), "-m", str(model), "--host", "127.0.0.1", "--port", str(port)],
        *["-c", str(CELLS), "-np", str(PARALLEL), "--kv-unified", "-fa", "on"],
        *["-t", str(threads), "-tb", str(threads), "-b", "2048", "-ub", "512"],
        *["--cont-batching", "--cache-reuse", "0", "--no-webui"],
    ]
    with _running("llama-server", port, command, dict(os.environ), log, "/health") as server:
        _wait_for_an_answer(server)
        yield server


@contextmanager
def _running(
    name: str, port: int, command: list[str], environment: dict[str, str], log: Path, ready: str
) -> Iterator[Server]:
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            _wait_until_ready(url + ready, process, log)
            yield Server(name, url, process, command)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}; see {log}")
        try:
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"no answer from {url} within {START_SECONDS} s; see {log}")


def _wait_for_an_answer(server: Server) -> None:
    """The weights are in memory, and every code path was taken once."""
    body = {"messages": [{"role": "user", "content": "bonjour"}], "max_tokens": 4, "temperature": 0}
    answer = httpx.post(
        server.url + "/v1/chat/completions",
        json=body,
        headers=server.headers,
        timeout=START_SECONDS,
        trust_env=False,
    )
    answer.raise_for_status()


def tokens_per_word(server: Server, text: str) -> float:
    """How many tokens a word of the load's texts has in this server's model."""
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 1, "temperature": 0}
    answer = httpx.post(
        server.url + "/v1/chat/completions",
        json=body,
        headers=server.headers,
        timeout=START_SECONDS,
        trust_env=False,
    )
    answer.raise_for_status()
    return float(answer.json()["usage"]["prompt_tokens"]) / len(text.split())
