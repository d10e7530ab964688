"""What callers get when something goes wrong behind the edge."""

from __future__ import annotations

import pytest
import structlog
from structlog.contextvars import merge_contextvars

from ai_core import errors
from ai_core.api.errors import error_headers, status_of
from edge_server import Server, checked_error, error_of, events_of

FAILURES = [
    (errors.InvalidRequest("no", parameter="messages"), 400),
    (errors.Overloaded("no", retry_after=2.1), 429),
    (errors.EngineUnavailable("no", retry_after=0.2), 503),
    (errors.DeadlineExceeded("no"), 504),
    (errors.RequestQuarantined("no"), 500),
    (errors.GenerationFailed("no"), 500),
]


@pytest.mark.parametrize(("error", "status"), FAILURES, ids=lambda value: type(value).__name__)
async def test_each_failure_before_the_answer_has_its_status(
    server: Server, error: errors.NeoError, status: int
) -> None:
    server.engine.refusal = error
    for stream in (False, True):
        response = await server.chat(prompt="Hello", stream=stream)
        assert response.status_code == status
        body = error_of(response)
        assert (body["message"], body["code"], body["param"]) == ("no", error.code, error.parameter)
    await server.until_idle()


@pytest.mark.parametrize(("error", "status"), FAILURES, ids=lambda value: type(value).__name__)
async def test_an_answer_that_fails_before_it_is_whole_has_the_same_status(
    server: Server, error: errors.NeoError, status: int
) -> None:
    server.engine.script = lambda answer: answer.say("some text").fail(error)
    response = await server.chat(prompt="Hello")
    assert response.status_code == status
    assert error_of(response)["code"] == error.code


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (2.1, "3"), (60.0, "60")]
)
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, header: str) -> None:
    assert error_headers(errors.Overloaded("no", retry_after=seconds)) == {"retry-after": header}


def test_without_a_time_there_is_no_retry_after() -> None:
    assert error_headers(errors.GenerationFailed("no")) == {}


def test_every_error_has_a_status_of_its_own() -> None:
    for cls in errors.NeoError.__subclasses__():
        assert 400 <= status_of(cls("no")) < 600
    assert status_of(errors.NeoError("no")) == 500


@pytest.mark.parametrize("error", [error for error, _ in FAILURES], ids=lambda value: type(value).__name__)
async def test_each_failure_in_a_stream_is_an_error_event(server: Server, error: errors.NeoError) -> None:
    server.engine.script = lambda answer: answer.say("some text").fail(error)
    *_, last = events_of((await server.chat(prompt="Hello", stream=True)).text)
    assert checked_error(last)["code"] == error.code


@pytest.mark.parametrize("path", ["/api/v1/chat", "/v1/chat/completions"])
async def test_a_stream_that_breaks_off_ends_with_the_error(server: Server, path: str) -> None:
    lost = errors.EngineUnavailable("The engine was lost.", retry_after=1)
    server.engine.script = lambda answer: answer.say("one ").fail(lost)
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
    response = await server.client.post(path, json=body)
    assert response.status_code == 200
    assert "event: error\n" in response.text
    assert "[DONE]" not in response.text
    error = checked_error(events_of(response.text)[-1])
    assert (error["message"], error["code"]) == ("The engine was lost.", "engine_unavailable")
    await server.until_idle()


async def test_a_cancelled_answer_is_not_passed_off_as_a_whole_one(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("half").finish("cancelled")
    assert (await server.chat(prompt="Hello")).status_code == 500
    events = events_of((await server.chat(prompt="Hello", stream=True)).text)
    assert checked_error(events[-1])["code"] == "cancelled"


async def test_our_own_mistake_is_a_500_with_the_id_to_look_for(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("x").fail(ZeroDivisionError("secret words of a user"))
    response = await server.chat(prompt="Hello")
    assert response.status_code == 500
    error = error_of(response)
    assert error["code"] == "internal_error"
    assert response.headers["x-request-id"] in error["message"]
    assert "secret" not in error["message"]
    assert (await server.client.get("/livez")).status_code == 200


async def test_our_own_mistake_in_a_stream_ends_it_with_the_same_words(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("x").fail(ZeroDivisionError("secret words of a user"))
    response = await server.chat(prompt="Hello", stream=True)
    error = checked_error(events_of(response.text)[-1])
    assert error["code"] == "internal_error"
    assert "secret" not in response.text
    await server.until_idle()


async def test_an_unknown_path_is_a_404_in_the_same_shape(server: Server) -> None:
    for path in ("/", "/api/v1/nothing", "/api/v1/chat/", "/" + "x" * 5_000, "/%ff%00"):
        response = await server.client.get(path)
        assert response.status_code == 404
        assert error_of(response)["code"] == "route_not_found"


async def test_a_wrong_method_is_a_405_that_names_the_right_one(server: Server) -> None:
    response = await server.client.get("/api/v1/chat")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert "POST" in error_of(response)["message"]


async def test_what_users_wrote_is_not_logged_with_our_mistakes(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("x").fail(ZeroDivisionError("secret words of a user"))
    with structlog.testing.capture_logs([merge_contextvars]) as lines:
        response = await server.chat(prompt="secret words of a user")
    (line,) = [line for line in lines if line["event"] == "unexpected error"]
    assert line["request_id"] == response.headers["x-request-id"]
    assert line["where"][0] == "ZeroDivisionError"
    assert any("_answer" in place for place in line["where"])
    assert "secret" not in str(lines)
