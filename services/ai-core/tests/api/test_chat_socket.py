"""Chats over a WebSocket, with a real client over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import websockets
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from access_keys import HEADERS, KEY
from ai_core.access.caller import Scope
from ai_core.api.chat_socket.frames import parse_frame
from ai_core.api.live_sockets import LiveSockets, SocketBounds
from ai_core.api.server import listen, serve
from ai_core.app import Service
from ai_core.errors import GenerationFailed, InvalidRequest
from edge_server import FakeEngine, Server, checked_error, echo, running_server


class Client:
    """A connection, with messages as objects."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def hear_all(self, id: str) -> list[dict[str, Any]]:
        """Everything about one request, to its end; nothing else may come in between."""
        messages = [await self.hear()]
        while messages[-1]["type"] not in {"done", "error"}:
            messages.append(await self.hear())
        assert {message["id"] for message in messages} == {id}
        return messages

    async def hear_error(self) -> dict[str, Any]:
        message = await self.hear()
        assert message["type"] == "error"
        checked_error({"error": message["error"]})
        return message

    async def hear_end(self) -> tuple[int | None, str]:
        """The code and reason with which the server hangs up."""
        with contextlib.suppress(ConnectionClosed):
            async for _ in self.connection:
                pass
        return self.connection.close_code, self.connection.close_reason or ""


@asynccontextmanager
async def connected(
    server: Server, headers: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[Client]:
    """With the key of all tests in the header, unless other headers are given."""
    async with websockets.connect(
        f"ws://127.0.0.1:{server.port}/api/v1/ws/chat",
        additional_headers=HEADERS if headers is None else headers,
        proxy=None,
        **more,
    ) as connection:
        yield Client(connection)


async def refusal(server: Server, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        async with connected(server, headers):
            pass
    response = refused.value.response
    return response.status_code, checked_error(json.loads(response.body or b""))


def bounded(**bounds: Any) -> LiveSockets:
    return LiveSockets(SocketBounds(**bounds))


async def test_an_answer_comes_as_it_does_over_http(echo_server: Server) -> None:
    async with connected(echo_server) as client:
        await client.say(type="chat", id="1", prompt="Bonjour à tous", temperature=0)
        accepted, *deltas, done = await client.hear_all("1")
    assert accepted["type"] == "accepted"
    assert accepted["request_id"]
    assert [delta["type"] for delta in deltas] == ["delta"] * 3
    assert "".join(delta["delta"] for delta in deltas) == "Bonjour à tous "
    over_http = (await echo_server.chat(prompt="Bonjour à tous")).json()
    assert done.keys() - {"type", "id"} == over_http.keys()
    assert done["response"] == over_http["response"]
    assert done["usage"]["completion_tokens"] == 3


async def test_without_stream_only_the_whole_answer_comes(echo_server: Server) -> None:
    async with connected(echo_server) as client:
        await client.say(type="chat", id="1", prompt="one two", stream=False)
        accepted, done = await client.hear_all("1")
    assert (accepted["type"], done["response"]) == ("accepted", "one two ")


async def test_several_turns_and_a_key_in_the_first_message(echo_server: Server) -> None:
    async with connected(echo_server, {}) as client:
        await client.say(type="auth", key=str(KEY))
        assert await client.hear() == {"type": "authenticated"}
        for number in ("1", "2", "1"):
            await client.say(type="chat", id=number, prompt=f"turn {number}")
            assert (await client.hear_all(number))[-1]["response"] == f"turn {number} "


async def test_requests_at_once_do_not_wait_for_each_other_and_one_can_be_cancelled(server: Server) -> None:
    async with connected(server) as client:
        answers = {}
        for name in ("slow", "fast"):
            await client.say(type="chat", id=name, prompt=name)
            answers[name] = await server.engine.next_answer()
            accepted = await client.hear()
            assert (accepted["type"], accepted["id"]) == ("accepted", name)
        answers["slow"].say("s")
        assert (await client.hear())["delta"] == "s"
        answers["fast"].say("f").finish()
        assert [message["id"] for message in await client.hear_all("fast")] == ["fast"] * 2

        await client.say(type="cancel", id="slow")
        await answers["slow"].cancelled.wait()
        cancelled = await client.hear_error()
        assert (cancelled["id"], cancelled["error"]["code"]) == ("slow", "cancelled")
        # It may be said again, and changes nothing.
        await client.say(type="cancel", id="slow")
        await client.say(type="ping")
        assert await client.hear() == {"type": "pong"}
    await server.until_idle()


async def test_hanging_up_stops_what_runs(server: Server) -> None:
    async with connected(server) as client:
        await client.say(type="chat", id="1", prompt="x")
        answer = await server.engine.next_answer()
    await answer.cancelled.wait()
    await server.until_idle()
    await server.until(lambda: server.context.sockets.count == 0)


async def test_what_fails_later_ends_the_answer_with_an_error(server: Server) -> None:
    async with connected(server) as client:
        await client.say(type="chat", id="1", prompt="x")
        (await server.engine.next_answer()).say("a").fail(GenerationFailed("It broke off."))
        *_, delta, error = await client.hear_all("1")
    assert (delta["delta"], error["status"], error["error"]["code"]) == ("a", 500, "generation_failed")


async def test_a_mistake_of_ours_is_an_error_with_the_request_id(server: Server) -> None:
    async with connected(server) as client:
        await client.say(type="chat", id="1", prompt="x")
        (await server.engine.next_answer()).fail(KeyError("oops"))
        accepted, error = await client.hear_all("1")
        assert accepted["request_id"] in error["error"]["message"]
        await client.say(type="ping")
        assert await client.hear() == {"type": "pong"}


@pytest.mark.parametrize(
    ("message", "id", "code", "parameter"),
    [
        ("", None, "invalid_json", None),
        ("[]", None, "invalid_json", None),
        ("{}", None, "missing_parameter", "type"),
        ('{"type": "chat", "prompt": "x"}', None, "missing_parameter", "id"),
        ('{"type": "chat", "id": 1, "prompt": "x"}', None, "invalid_value", "id"),
        ('{"type": "shout", "id": "1"}', "1", "invalid_value", "type"),
        ('{"type": "cancel", "id": "1", "why": 1}', "1", "unknown_parameter", "why"),
        ('{"type": "auth", "key": "é"}', None, "invalid_value", "key"),
        ('{"type": "chat", "id": "1"}', "1", "missing_parameter", "messages"),
        ('{"type": "chat", "id": "1", "prompt": "x", "top_p": 2}', "1", "invalid_value", "top_p"),
        ('{"type": "chat", "id": "1", "prompt": "x", "top_p": NaN}', "1", "invalid_value", "top_p"),
        ('{"type": "chat", "id": "1", "prompt": "x", "sream": true}', "1", "unknown_parameter", "sream"),
        ('{"type": "chat", "id": "1", "prompt": "x", "model": "no"}', "1", "model_not_found", "model"),
    ],
)
async def test_what_cannot_be_understood_is_answered_and_the_connection_stays(
    echo_server: Server, message: str, id: str | None, code: str, parameter: str | None
) -> None:
    async with connected(echo_server) as client:
        await client.connection.send(message)
        error = await client.hear_error()
        assert (error["id"], error["error"]["code"], error["error"]["param"]) == (id, code, parameter)
        assert error["status"] in {400, 404}
        await client.say(type="chat", id="1", prompt="still here")
        assert (await client.hear_all("1"))[-1]["type"] == "done"


async def test_bytes_are_no_message(echo_server: Server) -> None:
    async with connected(echo_server) as client:
        await client.connection.send(b"\xff\x00")
        assert (await client.hear_error())["error"]["code"] == "invalid_json"


async def test_an_id_in_use_is_refused_and_its_request_goes_on(server: Server) -> None:
    async with connected(server) as client:
        await client.say(type="chat", id="1", prompt="first")
        answer = await server.engine.next_answer()
        await client.hear()
        await client.say(type="chat", id="1", prompt="second")
        error = await client.hear_error()
        assert (error["id"], error["error"]["code"]) == (None, "id_in_use")
        answer.say("done").finish()
        assert (await client.hear_all("1"))[-1]["response"] == "done"


async def test_no_more_at_once_than_the_bound() -> None:
    async with (
        running_server(FakeEngine(), sockets=bounded(at_once=2)) as server,
        connected(server) as client,
    ):
        for name in ("1", "2"):
            await client.say(type="chat", id=name, prompt="x")
            await client.hear()
        await client.say(type="chat", id="3", prompt="x")
        error = await client.hear_error()
        assert (error["id"], error["status"], error["error"]["code"]) == ("3", 429, "too_many_at_once")
        assert error["retry_after"] >= 1


async def test_overload_says_when_to_come_back(server: Server) -> None:
    async with connected(server) as client:
        for number in range(4):
            await client.say(type="chat", id=str(number), prompt=f"{number}")
            await client.hear()
        await client.say(type="chat", id="more", prompt="x")
        error = await client.hear_error()
        assert (error["id"], error["status"], error["error"]["code"]) == ("more", 429, "overloaded")
        assert error["retry_after"] >= 1


async def test_the_handshake_is_refused_with_a_wrong_key_or_without_the_scope(server: Server) -> None:
    status, error = await refusal(server, {"X-API-Key": "neo_wrong"})
    assert (status, error["code"]) == (401, "invalid_api_key")
    status, error = await refusal(server, {"Authorization": f"Bearer {await server.new_key(Scope.METRICS)}"})
    assert (status, error["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    "message",
    [
        {"type": "auth", "key": "neo_wrong"},
        {"type": "auth"},
        {"type": "chat", "id": "1", "prompt": "x"},
        {"type": "ping"},
    ],
)
async def test_without_a_key_the_first_message_is_the_last(
    echo_server: Server, message: dict[str, str]
) -> None:
    async with connected(echo_server, {}) as client:
        await client.say(**message)
        assert (await client.hear_error())["status"] in {400, 401}
        assert await client.hear_end() == (1008, "not authenticated")
    assert not echo_server.engine.requests


async def test_who_shows_no_key_in_time_is_hung_up_on() -> None:
    async with (
        running_server(FakeEngine(), sockets=bounded(auth_seconds=0.05)) as server,
        connected(server, {}) as client,
    ):
        assert await client.hear_end() == (1008, "no key was shown in time")


async def test_a_revoked_key_opens_nothing_on_a_connection_that_is_open(echo_server: Server) -> None:
    key = await echo_server.new_key()
    async with connected(echo_server, {"X-API-Key": key}) as client:
        await client.say(type="chat", id="1", prompt="x")
        assert (await client.hear_all("1"))[-1]["type"] == "done"
        await echo_server.context.access.keys.revoke(key.split("_")[1])
        await client.say(type="chat", id="2", prompt="x")
        error = await client.hear_error()
        assert (error["id"], error["status"], error["error"]["code"]) == ("2", 401, "revoked_api_key")
        await client.say(type="auth", key=await echo_server.new_key(Scope.GENERATE))
        assert await client.hear() == {"type": "authenticated"}
        await client.say(type="chat", id="3", prompt="x")
        assert (await client.hear_all("3"))[-1]["type"] == "done"


async def test_a_key_has_its_own_models_here_too(echo_server: Server) -> None:
    key = await echo_server.new_key(allowed_models=["another"])
    async with connected(echo_server, {"X-API-Key": key}) as client:
        await client.say(type="chat", id="1", prompt="x")
        assert (await client.hear_error())["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("https://pages.example", True),
        ("http://127.0.0.1:{port}", True),
        ("https://elsewhere.example", False),
        ("http://127.0.0.1", False),
        ("null", False),
    ],
)
async def test_pages_of_elsewhere_are_refused(origin: str, welcome: bool) -> None:
    async with running_server(FakeEngine(script=echo), cors_origins=("https://pages.example",)) as server:
        headers = HEADERS | {"Origin": origin.format(port=server.port)}
        if not welcome:
            status, error = await refusal(server, headers)
            assert (status, error["code"]) == (403, "origin_not_allowed")
            return
        async with connected(server, headers) as client:
            await client.say(type="chat", id="1", prompt="x")
            assert (await client.hear_all("1"))[-1]["type"] == "done"


async def test_idle_connections_end_and_busy_ones_do_not() -> None:
    async with (
        running_server(FakeEngine(), sockets=bounded(idle_seconds=0.05)) as server,
        connected(server) as client,
    ):
        await client.say(type="chat", id="1", prompt="x")
        answer = await server.engine.next_answer()
        await asyncio.sleep(0.2)
        answer.say("done").finish()
        assert (await client.hear_all("1"))[-1]["response"] == "done"
        assert await client.hear_end() == (1001, "idle for too long")


async def test_a_slow_reader_is_hung_up_on_and_its_answer_is_stopped() -> None:
    async with running_server(FakeEngine(), sockets=bounded(send_seconds=0.2)) as server:
        # A client that takes nothing off its socket.
        async with connected(server, max_queue=1, ping_interval=None) as client:
            await client.say(type="chat", id="1", prompt="x")
            answer = await server.engine.next_answer()
            client.connection.transport.pause_reading()
            said = 0
            while not answer.cancelled.is_set():
                answer.say("x" * 60_000)
                said += 1
                await asyncio.sleep(0.01)
            await server.until_idle()
            await server.until(lambda: server.context.sockets.count == 0)
            client.connection.transport.abort()
        assert said < 10_000


async def test_a_message_that_is_too_large_ends_the_connection(echo_server: Server) -> None:
    async with connected(echo_server) as client:
        with contextlib.suppress(ConnectionClosed):
            await client.say(type="chat", id="1", prompt="x" * 2_200_000)
        assert (await client.hear_end())[0] == 1009
    assert not echo_server.engine.requests


async def test_protocol_pings_are_answered(echo_server: Server) -> None:
    async with connected(echo_server) as client:
        await (await client.connection.ping())


async def test_draining_finishes_answers_takes_nothing_new_and_closes_with_1001(server: Server) -> None:
    async with connected(server) as idle, connected(server) as busy:
        await busy.say(type="chat", id="1", prompt="before")
        answer = await server.engine.next_answer()
        await busy.hear()
        draining = asyncio.create_task(Service(server.context, drain_timeout=30).drain())
        assert await idle.hear_end() == (1001, "this server is shutting down")
        await busy.say(type="chat", id="2", prompt="after")
        error = await busy.hear_error()
        assert (error["id"], error["status"], error["error"]["code"]) == ("2", 503, "shutting_down")
        answer.say("done").finish()
        assert (await busy.hear_all("1"))[-1]["response"] == "done"
        assert await busy.hear_end() == (1001, "this server is shutting down")
        await draining
    status, refused = await refusal(server, HEADERS)
    assert (status, refused["code"]) == (503, "shutting_down")


async def test_sigterm_closes_with_1001(server: Server) -> None:
    listener = listen("127.0.0.1", 0)
    service = Service(server.context, drain_timeout=30)
    serving = asyncio.create_task(serve(server.application, listener, service.drain, service.hurry.set))
    server.port = listener.getsockname()[1]
    async with connected(server) as client:
        await client.say(type="ping")
        await client.hear()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await client.hear_end() == (1001, "this server is shutting down")
    await serving


async def test_each_request_has_a_log_line_and_is_counted(echo_server: Server) -> None:
    with structlog.testing.capture_logs() as lines:
        async with connected(echo_server) as client:
            await client.say(type="chat", id="1", prompt="a planted secret")
            accepted, *_ = await client.hear_all("1")
            await client.say(type="chat", id="2", prompt="x", top_p=3)
            await client.hear_error()
            assert await echo_server.metric("neo_websocket_connections") == 1
        await echo_server.until(lambda: echo_server.context.sockets.count == 0)
    requests = [line for line in lines if line["event"] == "request" and line.get("transport") == "websocket"]
    assert [(line["route"], line["status"]) for line in requests] == [
        ("/api/v1/chat", 200),
        ("/api/v1/chat", 400),
    ]
    assert requests[0]["key_id"] == KEY.id
    assert requests[0]["completion_tokens"] == 3
    assert accepted["request_id"]
    closed = next(line for line in lines if line["event"] == "websocket closed")
    assert (closed["requests"], closed["key_id"]) == (2, KEY.id)
    assert "planted" not in str(lines)
    assert await echo_server.metric("neo_requests_total", route="/api/v1/chat", status="400") == 1


_FIELDS = st.sampled_from(["type", "id", "key", "prompt", "chat", "cancel", "auth", "ping"]) | st.text()
_VALUES = st.recursive(
    st.none() | st.booleans() | _FIELDS | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(_FIELDS, inner),
)


@given(st.text() | _VALUES.map(json.dumps))
def test_no_message_is_an_accident(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_frame(text)
