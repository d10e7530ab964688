"""Conversations that stay on the server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ai_core.engine.messages import CallPiece, ChatMessage, Delta, Finished
from ai_core.errors import GenerationFailed, InvalidRequest
from ai_core.storage.redis_connection import RedisConnection
from edge_server import FakeAnswer, FakeEngine, Server, error_of, events_of, running_server
from ports import free_port
from servicekit.key_value.embedded import EmbeddedStore
from servicekit.key_value.redis_store import RedisStore


async def say(server: Server, text: str, session: str = "s", **options: Any) -> httpx.Response:
    response = await server.chat(prompt=text, session_id=session, **options)
    assert response.status_code == 200, response.text
    return response


def read_by_the_model(server: Server) -> list[tuple[str, str]]:
    messages = server.engine.requests[-1].messages
    assert messages is not None
    return [(message.role, message.content) for message in messages]


async def sessions_of(client: httpx.AsyncClient, **headers: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/api/v1/sessions", headers=headers)).json()["sessions"]
    return found


async def test_the_model_reads_what_was_said_before(echo_server: Server) -> None:
    answer = (await say(echo_server, "one")).json()
    assert answer["session_id"] == "s"
    await say(echo_server, "two")
    assert read_by_the_model(echo_server) == [("user", "one"), ("assistant", "one "), ("user", "two")]
    await say(echo_server, "three", stream=True)
    assert read_by_the_model(echo_server)[-2:] == [("assistant", "two "), ("user", "three")]


async def test_without_a_session_nothing_is_kept(echo_server: Server) -> None:
    answer = (await echo_server.chat(prompt="one")).json()
    assert "session_id" not in answer
    assert await sessions_of(echo_server.client) == []


async def test_sessions_do_not_hear_each_other(echo_server: Server) -> None:
    await say(echo_server, "one", "a")
    await say(echo_server, "two", "b")
    assert read_by_the_model(echo_server) == [("user", "two")]


async def test_messages_may_bring_instructions_and_several_turns(echo_server: Server) -> None:
    opening = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    response = await echo_server.chat(messages=opening, session_id="s")
    assert response.status_code == 200
    await echo_server.chat(
        messages=[{"role": "system", "content": "Be long."}, {"role": "user", "content": "three"}],
        session_id="s",
    )
    assert read_by_the_model(echo_server) == [
        ("system", "Be long."),
        ("user", "one"),
        ("assistant", "1"),
        ("user", "two"),
        ("assistant", "two "),
        ("user", "three"),
    ]


async def test_a_session_can_be_listed_read_and_deleted(echo_server: Server) -> None:
    await say(echo_server, "one", "first")
    await say(echo_server, "two", "second")
    await say(echo_server, "three", "first")
    listed = await sessions_of(echo_server.client)
    assert [(facts["session_id"], facts["turns"]) for facts in listed] == [("first", 2), ("second", 1)]
    session = (await echo_server.client.get("/api/v1/sessions/first")).json()
    assert session["messages"] == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "one "},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "three "},
    ]
    assert (session["turns"], session["dropped_turns"]) == (2, 0)
    created, updated, ends = (
        datetime.fromisoformat(session[f"{name}_at"]) for name in ("created", "updated", "expires")
    )
    assert created <= updated <= datetime.now(UTC) + timedelta(seconds=1)
    assert ends - updated == timedelta(seconds=1000)
    assert (await echo_server.client.delete("/api/v1/sessions/first")).status_code == 204
    gone = await echo_server.client.get("/api/v1/sessions/first")
    assert (gone.status_code, error_of(gone)["code"]) == (404, "session_not_found")
    assert [facts["session_id"] for facts in await sessions_of(echo_server.client)] == ["second"]
    await say(echo_server, "four", "first")
    assert read_by_the_model(echo_server) == [("user", "four")]


async def test_the_list_has_a_limit(echo_server: Server) -> None:
    for number in range(5):
        await say(echo_server, "x", f"s{number}")
        await asyncio.sleep(0.002)
    some = (await echo_server.client.get("/api/v1/sessions?limit=2")).json()["sessions"]
    assert [facts["session_id"] for facts in some] == ["s4", "s3"]
    for wrong in ("0", "1001", "-1", "x", "1.5", "٣", "9" * 30, ""):
        response = await echo_server.client.get("/api/v1/sessions", params={"limit": wrong})
        assert (response.status_code, error_of(response)["param"]) == (400, "limit")
    unknown = await echo_server.client.get("/api/v1/sessions?offset=1")
    assert (unknown.status_code, error_of(unknown)["param"]) == (400, "offset")


async def test_a_session_of_another_key_is_not_there(echo_server: Server) -> None:
    await say(echo_server, "a secret", "s")
    other = {"x-api-key": await echo_server.new_key()}
    assert await sessions_of(echo_server.client, **other) == []
    for method in ("GET", "DELETE"):
        response = await echo_server.client.request(method, "/api/v1/sessions/s", headers=other)
        assert response.status_code == 404
    response = await echo_server.client.post(
        "/api/v1/chat", json={"prompt": "mine", "session_id": "s"}, headers=other
    )
    assert response.status_code == 200
    assert read_by_the_model(echo_server) == [("user", "mine")]
    assert len((await echo_server.client.get("/api/v1/sessions/s")).json()["messages"]) == 2


@pytest.mark.parametrize(
    "wrong", ["", "a b", "a/b", "é", "x" * 129, "..", "-x", "a\n", 7, ["s"], "<script>", "s%2e"]
)
async def test_a_session_id_is_a_short_word_that_fits_into_a_path(echo_server: Server, wrong: Any) -> None:
    response = await echo_server.chat(prompt="one", session_id=wrong)
    assert (response.status_code, error_of(response)["param"]) == (400, "session_id")


@pytest.mark.parametrize("name", ["a", "chat:42", "2026-01-31.x~y_z", "x" * 128])
async def test_whatever_a_session_is_called_it_can_be_read(echo_server: Server, name: str) -> None:
    await say(echo_server, "one", name)
    assert (await echo_server.client.get(f"/api/v1/sessions/{name}")).json()["session_id"] == name


async def test_context_and_session_do_not_go_together(echo_server: Server) -> None:
    context = [{"role": "user", "content": "one"}]
    response = await echo_server.chat(prompt="two", context=context, session_id="s")
    assert (response.status_code, error_of(response)["param"]) == (400, "context")


async def test_only_chats_have_sessions(echo_server: Server) -> None:
    response = await echo_server.generate(prompt="one", session_id="s")
    assert (response.status_code, error_of(response)["param"]) == (400, "session_id")


async def test_an_answer_that_broke_off_leaves_no_trace(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("whole").finish()
    await say(server, "one")
    server.engine.script = lambda answer: answer.say("half").fail(GenerationFailed("It broke."))
    assert (await server.chat(prompt="two", session_id="s")).status_code == 500
    broken = await server.chat(prompt="two", session_id="s", stream=True)
    assert "It broke." in broken.text
    server.engine.refusal = InvalidRequest("No.", parameter="messages")
    assert (await server.chat(prompt="two", session_id="s")).status_code == 400
    session = (await server.client.get("/api/v1/sessions/s")).json()
    assert [message["content"] for message in session["messages"]] == ["one", "whole"]


async def test_a_client_that_leaves_leaves_no_trace_and_blocks_nobody(server: Server) -> None:
    body = {"prompt": "one", "session_id": "s", "stream": True}
    async with server.client.stream("POST", "/api/v1/chat", json=body) as response:
        answer = (await server.engine.next_answer()).say("half")
        async for line in response.aiter_lines():
            if "half" in line:
                break
    await answer.cancelled.wait()
    server.engine.script = lambda answer: answer.say("whole").finish()
    await say(server, "two")
    assert read_by_the_model(server) == [("user", "two")]


async def test_who_speaks_at_the_same_time_waits_for_the_answer_before(server: Server) -> None:
    """As in a chat between people: the second message is read with the answer to the first."""
    first = asyncio.create_task(say(server, "one"))
    answer = await server.engine.next_answer()
    requests = server.context.inference.requests
    second = asyncio.create_task(say(server, "two"))
    await server.until(lambda: requests.count == 2)
    third = asyncio.create_task(say(server, "three"))
    await server.until(lambda: requests.count == 3)
    other = asyncio.create_task(say(server, "elsewhere", "other"))
    elsewhere = await server.engine.next_answer()
    elsewhere.say("not held up").finish()
    await other
    assert len(server.engine.requests) == 2
    server.engine.script = lambda answer: answer.say("ok").finish()
    answer.say("1").finish()
    await asyncio.gather(first, second, third)
    assert read_by_the_model(server) == [
        ("user", "one"),
        ("assistant", "1"),
        ("user", "two"),
        ("assistant", "ok"),
        ("user", "three"),
    ]


async def test_who_waits_longer_than_they_want_is_told_so(server: Server) -> None:
    first = asyncio.create_task(say(server, "one"))
    answer = await server.engine.next_answer()
    hurried = await server.client.post(
        "/api/v1/chat",
        json={"prompt": "two", "session_id": "s"},
        headers={"X-Request-Timeout": "0.05"},
    )
    assert (hurried.status_code, error_of(hurried)["code"]) == (409, "session_busy")
    assert int(hurried.headers["retry-after"]) >= 1
    answer.say("1").finish()
    await first


async def test_a_session_deleted_while_it_is_answered_stays_deleted(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("1").finish()
    await say(server, "one")
    server.engine.script = None
    second = asyncio.create_task(say(server, "two"))
    server.engine.answers.clear()
    answer = await server.engine.next_answer()
    assert (await server.client.delete("/api/v1/sessions/s")).status_code == 204
    answer.say("2").finish()
    assert (await second).json()["response"] == "2"
    assert (await server.client.get("/api/v1/sessions/s")).status_code == 404


async def test_two_replicas_keep_both_turns_and_their_order() -> None:
    store = EmbeddedStore(10_000_000)
    async with (
        running_server(FakeEngine(), store=store) as one,
        running_server(FakeEngine(), store=store) as two,
    ):
        first = asyncio.create_task(say(one, "one"))
        answer = await one.engine.next_answer()
        two.engine.script = lambda answer: answer.say("2").finish()
        second = asyncio.create_task(say(two, "two"))
        await two.until(lambda: two.context.inference.requests.count == 1)
        await asyncio.sleep(0.05)
        assert not two.engine.requests
        answer.say("1").finish()
        await asyncio.gather(first, second)
        assert read_by_the_model(two) == [("user", "one"), ("assistant", "1"), ("user", "two")]


async def test_a_deterministic_turn_comes_from_the_cache_and_is_kept_all_the_same(
    echo_server: Server,
) -> None:
    await say(echo_server, "one", "a", temperature=0)
    again = await say(echo_server, "one", "b", temperature=0)
    assert again.json()["cached"] is True
    assert len((await echo_server.client.get("/api/v1/sessions/b")).json()["messages"]) == 2


async def test_calls_of_functions_are_kept_under_the_ids_that_callers_know(server: Server) -> None:
    def calls(answer: FakeAnswer) -> None:
        answer._events.put_nowait(Delta(1, "", 1, calls=[CallPiece(0, "clock", "{}")]))
        answer._events.put_nowait(Finished(1, "tool_calls", "", 7, 1, 0, 0.0, 0.0))

    server.engine.script = calls
    await say(server, "What time is it?")
    session = (await server.client.get("/api/v1/sessions/s")).json()
    [call] = session["messages"][1]["tool_calls"]
    assert (call["name"], call["arguments"]) == ("clock", "{}")


async def test_long_conversations_lose_their_oldest_turns_and_keep_their_instructions(
    echo_server: Server,
) -> None:
    await echo_server.chat(
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "0"}],
        session_id="s",
    )
    for number in range(1, 25):
        await say(echo_server, str(number))
    session = (await echo_server.client.get("/api/v1/sessions/s")).json()
    assert session["turns"] == 25
    assert 0 < session["dropped_turns"] <= 10
    said = [message["content"] for message in session["messages"]]
    assert said[0] == "Be brief."
    assert said[-2:] == ["24", "24 "]
    assert len(said) == 1 + 2 * (25 - session["dropped_turns"])


async def test_what_the_engine_finds_too_long_is_shortened_until_it_fits(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("ok").finish()
    for number in range(12):
        await say(server, f"turn {number}")

    class Narrow(FakeEngine):
        async def submit(self, request: Any) -> FakeAnswer:
            if len(request.messages) > 9:
                raise InvalidRequest("Long.", code="context_length_exceeded", parameter="messages")
            return await super().submit(request)

    server.engine.__class__ = Narrow
    await say(server, "turn 12")
    messages = server.engine.requests[-1].messages
    assert messages is not None
    assert len(messages) <= 9
    assert messages[-1] == ChatMessage("user", "turn 12")
    before = len(server.engine.requests)
    await say(server, "turn 13")
    assert len(server.engine.requests) == before + 1


async def test_a_message_that_can_never_fit_is_refused(server: Server) -> None:
    server.engine.refusal = InvalidRequest("Long.", code="context_length_exceeded", parameter="messages")
    response = await server.chat(prompt="one", session_id="s")
    assert (response.status_code, error_of(response)["param"]) == (400, "prompt")
    assert await sessions_of(server.client) == []


async def test_without_the_store_sessions_are_503_and_everything_else_works() -> None:
    connection = RedisConnection(f"redis://127.0.0.1:{free_port()}/0")
    store = RedisStore(connection)
    async with running_server(FakeEngine(script=lambda a: a.say("ok").finish()), store=store) as server:
        refused = [
            await server.chat(prompt="one", session_id="s"),
            await server.client.get("/api/v1/sessions"),
            await server.client.get("/api/v1/sessions/s"),
            await server.client.delete("/api/v1/sessions/s"),
        ]
        for response in refused:
            assert (response.status_code, error_of(response)["code"]) == (503, "store_unavailable")
            assert int(response.headers["retry-after"]) >= 1
        assert not server.engine.requests
        assert (await server.chat(prompt="one", temperature=0)).status_code == 200
    await store.close()
    await connection.close()


async def test_a_store_that_goes_away_meanwhile_is_an_error_at_the_end_and_half_a_turn_is_never_kept() -> (
    None
):
    class Failing(EmbeddedStore):
        gone = False

        async def swap(self, key: str, expected: bytes | None, value: bytes | None, ttl: float) -> bool:
            if self.gone and key.startswith("session:"):
                raise RedisConnection("redis://localhost").breaker.refusal()
            return await super().swap(key, expected, value, ttl)

    store = Failing(10_000_000)
    async with running_server(FakeEngine(script=lambda a: a.say("ok").finish()), store=store) as server:
        await say(server, "one")
        store.gone = True
        whole = await server.chat(prompt="two", session_id="s")
        assert (whole.status_code, error_of(whole)["code"]) == (503, "store_unavailable")
        streamed = await server.chat(prompt="two", session_id="s", stream=True)
        assert (
            events_of(streamed.text.replace("event: error\n", ""))[-1]["error"]["code"] == "store_unavailable"
        )
        store.gone = False
        session = (await server.client.get("/api/v1/sessions/s")).json()
        assert [message["content"] for message in session["messages"]] == ["one", "ok"]
