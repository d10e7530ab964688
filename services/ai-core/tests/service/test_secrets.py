"""Nothing that people wrote, no key and no address is in any log, metric or trace of the whole service."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from ai_core_service import PATIENCE, Server, running
from trace_collector import Collector, collecting

ADDRESS = "203.0.113.77"
ADDRESS_V6 = "2001:db8:feed::77"
BREAKING = ("[[fail]]", "[[raise]]", "[[crash]]", "[[exit]]", "[[crash-when-read]]")


@dataclass
class Planted:
    """Words that must not be seen again, by where they were put."""

    words: dict[str, str] = field(default_factory=dict)

    def at(self, place: str) -> str:
        return self.words.setdefault(place, f"zq{len(self.words)}planted{place.replace('-', '')}qz")


@dataclass
class Written:
    """Everything that the service wrote, as it lies on the disk or went over the wire."""

    log: str
    metrics: str
    traces: bytes
    database: bytes


@pytest.fixture(scope="module", params=["scripted", "llama_cpp"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What a service wrote that got secrets in every place which takes something."""
    planted = Planted()
    database = tmp_path_factory.mktemp("secrets") / "ai-core.db"
    with collecting() as collector:
        settings = {
            "ENGINE_BACKEND": request.param,
            "LOG_LEVEL": "debug",
            "TRUSTED_PROXIES": "127.0.0.1",
            "DATABASE_URL": f"sqlite:///{database}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }
        if request.param == "scripted":
            # Nobody is there: what is said about that must not name the password.
            settings |= {
                "REDIS_URL": f"redis://:{planted.at('redispassword')}@127.0.0.1:9/0",
                "SECRET_KEY": planted.at("secretkey"),
            }
        with running(**settings) as server:
            made = server.post("/api/v1/admin/keys", {"name": planted.at("keyname"), "scopes": ["generate"]})
            key = made.json()["key"]
            headers = planted_headers(planted) | {"X-API-Key": key}
            ask_everything(server, planted, headers, key)
            if request.param == "scripted":
                break_everything(server, planted, headers)
            metrics = server.get("/api/v1/metrics").text
            local_key = server.key
        yield planted, [key, local_key], written(server, collector, metrics, database)


def written(server: Server, collector: Collector, metrics: str, database: Path) -> Written:
    files = [path.read_bytes() for path in database.parent.glob("ai-core.db*")]
    return Written("".join(server.log), metrics, b"".join(collector.bodies), b"".join(files))


def planted_headers(planted: Planted) -> dict[str, str]:
    return {
        "X-Forwarded-For": f"{ADDRESS_V6}, {ADDRESS}",
        "X-Real-IP": ADDRESS,
        "Forwarded": f"for={ADDRESS}",
        "User-Agent": planted.at("agent"),
        "Referer": f"https://example.com/{planted.at('referer')}",
        "Cookie": f"session={planted.at('cookie')}",
        "Origin": f"https://{planted.at('origin')}.example",
        "tracestate": f"vendor={planted.at('tracestate')}",
        "baggage": f"user={planted.at('baggage')}",
    }


def ask_everything(server: Server, planted: Planted, headers: dict[str, str], key: str) -> None:
    def post(path: str, body: Any) -> httpx.Response:
        return httpx.post(server.url + path, json=body, headers=headers, timeout=PATIENCE, trust_env=False)

    short = {"max_tokens": 8}
    said = {"role": "user", "content": planted.at("message")}
    system = {"role": "system", "content": planted.at("system")}
    mail = {
        "sender": planted.at("sender"),
        "subject": planted.at("subject"),
        "thread_id": planted.at("thread"),
    }
    tool = {
        "type": "function",
        "function": {"name": planted.at("tool"), "description": planted.at("tooldescription")},
    }
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": planted.at("tool"), "arguments": json.dumps({"x": planted.at("arguments")})},
    }
    turns = [
        said,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": planted.at("toolresult")},
    ]
    good: list[tuple[str, Any]] = [
        ("/api/v1/chat", {"prompt": planted.at("prompt"), "user": planted.at("user")} | short),
        ("/api/v1/chat", {"prompt": planted.at("stream"), "stream": True} | short),
        ("/api/v1/chat", {"prompt": planted.at("session"), "session_id": planted.at("sessionid")} | short),
        ("/api/v1/chat", {"prompt": planted.at("mail"), "email_context": mail} | short),
        ("/api/v1/generate", {"prompt": planted.at("raw"), "stop": [planted.at("stop")]} | short),
        ("/v1/chat/completions", {"messages": [system, said]} | short),
        ("/v1/chat/completions", {"messages": turns, "tools": [tool]} | short),
        ("/v1/completions", {"prompt": planted.at("completion")} | short),
    ]
    for path, body in good:
        assert post(path, body).status_code in {200, 400, 503}, path
    ask_wrongly(server, planted, headers, post)
    show_keys(server, headers, key)
    talk(server, planted, key)


def ask_wrongly(server: Server, planted: Planted, headers: dict[str, str], post: Any) -> None:
    for path, body in (
        ("/api/v1/chat", {"prompt": "x", planted.at("field"): 1}),
        ("/api/v1/chat", {"prompt": "x", "model": planted.at("model")}),
        ("/api/v1/chat", {"prompt": {"x": planted.at("type")}}),
        ("/api/v1/generate", {"prompt": "x", "grammar": planted.at("grammar")}),
        (f"/{planted.at('path')}", {}),
        (f"/api/v1/chat?key={planted.at('query')}", {"prompt": "x"}),
        ("/api/v1/admin/keys", {"name": planted.at("forbidden"), "scopes": ["admin"]}),
    ):
        post(path, body)
    with httpx.Client(base_url=server.url, headers=headers, timeout=PATIENCE, trust_env=False) as client:
        client.post("/api/v1/chat", content=f'{{"prompt": "{planted.at("json")}')
        client.get(f"/v1/models/{planted.at('modelpath')}")
        client.get(f"/api/v1/sessions/{planted.at('sessionpath')}")
    port = int(server.url.rsplit(":", 1)[1])
    for text in (f"{planted.at('nohttp')}\r\n\r\n", f"GET / HTTP/1.1\r\n{planted.at('noheader')}\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection, suppress(OSError):
            connection.sendall(text.encode())
            connection.recv(1000)


def show_keys(server: Server, headers: dict[str, str], key: str) -> None:
    """A key in every place where one may be sent, and where one is sent by mistake."""
    wrong = key[:-4] + "XXXX"
    basic = base64.b64encode(f"me:{key}".encode()).decode()
    for shown in (
        {"X-API-Key": wrong},
        {"X-API-Key": key + "x"},
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"Bearer {wrong}"},
        {"Authorization": f"Basic {basic}"},
        {"Authorization": key},
        {"X-Request-ID": key, "X-API-Key": key},
        {"X-API-Key": key, "traceparent": key},
    ):
        for path in ("/docs", "/v1/models", "/api/v1/health", f"/nowhere/{key}", f"/livez?key={key}"):
            sent = {name: value for name, value in headers.items() if name != "X-API-Key"} | shown
            httpx.get(server.url + path, headers=sent, timeout=PATIENCE, trust_env=False)


def talk(server: Server, planted: Planted, key: str) -> None:
    """Over the WebSocket, with the key in its first message."""
    url = server.url.replace("http", "ws") + "/api/v1/ws/chat"
    with connect(url, proxy=None, additional_headers={"X-Forwarded-For": ADDRESS}) as websocket:
        websocket.send(json.dumps({"type": "auth", "key": key}))
        websocket.recv(PATIENCE)
        prompt = {"type": "chat", "id": "1", "prompt": planted.at("websocket"), "max_tokens": 8}
        websocket.send(json.dumps(prompt))
        while json.loads(websocket.recv(PATIENCE))["type"] not in {"done", "error"}:
            pass
        websocket.send(planted.at("frame"))
        websocket.recv(PATIENCE)


def break_everything(server: Server, planted: Planted, headers: dict[str, str]) -> None:
    """Failures of the engine, in all the ways that it has."""
    for number, directive in enumerate(BREAKING):
        for stream in (False, True):
            body = {"prompt": f"{directive} {planted.at(f'broken{number}')}", "stream": stream}
            url = server.url + "/api/v1/chat"
            httpx.post(url, json=body, headers=headers, timeout=PATIENCE, trust_env=False)


def test_no_log_line_metric_or_span_holds_what_somebody_wrote(scene: Any) -> None:
    planted, _, seen = scene
    assert len(planted.words) >= 39
    for place, word in planted.words.items():
        assert word not in seen.log, f"the log holds what came as {place}"
        assert word not in seen.metrics, f"a metric holds what came as {place}"
        assert word.encode() not in seen.traces, f"a span holds what came as {place}"


def test_no_key_is_seen_again(scene: Any) -> None:
    _, (made, local), seen = scene
    for key in (made, local):
        secret = key.split("_")[2]
        # The first start shows the key that it made; nothing else ever does.
        assert seen.log.count(secret) == (1 if key is local else 0)
        assert secret[:20] not in seen.metrics
        assert secret[:20].encode() not in seen.traces
        assert secret[:20].encode() not in seen.database


def test_no_address_is_seen_again(scene: Any) -> None:
    _, _, seen = scene
    for address in (ADDRESS, ADDRESS_V6):
        assert address not in seen.log
        assert address not in seen.metrics
        assert address.encode() not in seen.traces


def test_there_was_something_to_search_through(scene: Any) -> None:
    """An empty haystack proves nothing."""
    _, (made, _), seen = scene
    key_id = made.split("_")[1]
    lines = [json.loads(line) for line in seen.log.splitlines() if line.startswith("{")]
    assert sum(line["event"] == "request" for line in lines) > 40
    assert key_id in seen.log
    assert key_id in seen.metrics
    assert key_id.encode() in seen.traces
    assert b"gen_ai.usage.output_tokens" in seen.traces
    assert key_id.encode() in seen.database
