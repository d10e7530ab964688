"""One line per request, which tells an operator much and of the conversation nothing."""

from __future__ import annotations

from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from access_keys import KEY
from ai_core.api.middleware import RequestCounter, RequestScope
from ai_core.errors import Overloaded
from edge_server import Server


async def test_an_answer_is_one_line_with_tokens_and_times(echo_server: Server) -> None:
    with structlog.testing.capture_logs() as lines:
        response = await echo_server.chat(prompt="secret words", stream=True)
    (line,) = lines
    expected: dict[str, Any] = {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "route": "/api/v1/chat",
        "status": 200,
        "model": "fake-model",
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "cached_prompt_tokens": 2,
        "queue_seconds": 0.25,
        "finish_reason": "stop",
    }
    assert expected.items() <= line.items()
    assert line["first_token_seconds"] <= line["seconds"]
    assert "secret" not in str(line)
    assert response.headers["x-request-id"]


async def test_a_refusal_is_one_line_with_its_code(server: Server) -> None:
    server.engine.refusal = Overloaded("no", retry_after=1)
    with structlog.testing.capture_logs() as lines:
        await server.chat(prompt="Hello")
    (line,) = lines
    assert (line["status"], line["error"]) == (429, "overloaded")


async def test_probes_fill_no_log(server: Server) -> None:
    with structlog.testing.capture_logs() as lines:
        for path in ("/livez", "/readyz", "/api/v1/metrics"):
            await server.client.get(path)
    assert {line["log_level"] for line in lines} == {"debug"}


async def test_a_mistake_of_ours_on_a_websocket_is_logged_without_what_was_said() -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError(" ".join(("secret", "words")))

    with structlog.testing.capture_logs() as lines:
        await RequestScope(broken, RequestCounter(CollectorRegistry()))(
            {"type": "websocket", "headers": []}, receive_nothing, send_nowhere
        )
    (line,) = lines
    assert line["event"] == "unexpected error"
    assert line["where"][0] == "RuntimeError"
    assert "secret words" not in str(line)


async def receive_nothing() -> Any:
    raise AssertionError("nothing is read")


async def send_nowhere(_message: Any) -> None:
    raise AssertionError("nothing is sent")


async def test_a_key_that_is_sent_as_a_request_id_is_not_taken_over(server: Server) -> None:
    for wrong in (str(KEY), f"x-{KEY}", "two words", "x" * 129, ""):
        response = await server.client.get("/livez", headers={"X-Request-ID": wrong})
        assert response.headers["x-request-id"] not in {wrong, wrong.strip()}
    kept = await server.client.get("/livez", headers={"X-Request-ID": "order-4711"})
    assert kept.headers["x-request-id"] == "order-4711"
