"""Answers that are given again, as callers see them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ai_core.errors import InvalidRequest
from ai_core.inference.service import Limits
from edge_server import FakeAnswer, FakeEngine, Server, error_of, events_of, running_server

GREEDY: dict[str, Any] = {"prompt": "one two", "temperature": 0}


def times(engine: FakeEngine) -> int:
    return len(engine.requests)


async def test_a_repeated_question_is_answered_again_without_the_engine(echo_server: Server) -> None:
    first = await echo_server.chat(**GREEDY)
    again = await echo_server.chat(**GREEDY)
    assert times(echo_server.engine) == 1
    assert (first.headers["x-neo-cache"], again.headers["x-neo-cache"]) == ("miss", "hit")
    one, other = first.json(), again.json()
    assert (one["cached"], other["cached"]) == (False, True)
    assert other["usage"] == one["usage"] | {"cached_prompt_tokens": one["usage"]["prompt_tokens"]}
    for field in ("response", "model", "tokens_used", "finish_reason"):
        assert one[field] == other[field]


async def test_a_found_answer_streams_when_a_stream_is_asked_for(echo_server: Server) -> None:
    await echo_server.chat(**GREEDY)
    response = await echo_server.chat(**GREEDY, stream=True)
    *deltas, last = events_of(response.text)
    assert deltas == [{"delta": "one "}, {"delta": "two "}]
    assert last["cached"] is True
    assert times(echo_server.engine) == 1


async def test_openais_form_says_it_in_a_header_and_in_the_usage(echo_server: Server) -> None:
    messages = [{"role": "user", "content": "one two"}]
    await echo_server.openai(messages=messages, temperature=0)
    whole = await echo_server.openai(messages=messages, temperature=0)
    stream = await echo_server.openai(messages=messages, temperature=0, stream=True)
    assert (whole.headers["x-neo-cache"], stream.headers["x-neo-cache"]) == ("hit", "hit")
    usage = whole.json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"]
    assert times(echo_server.engine) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/chat", {"prompt": "one two"}),
        ("/api/v1/generate", {"prompt": "one two"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "one two"}]}),
        ("/v1/completions", {"prompt": "one two"}),
    ],
)
async def test_callers_may_ask_for_it_or_against_it(
    echo_server: Server, path: str, body: dict[str, Any]
) -> None:
    async def outcome(**options: Any) -> str:
        response = await echo_server.client.post(path, json=body | options)
        assert response.status_code == 200, response.text
        return response.headers["x-neo-cache"]

    assert [await outcome(), await outcome()] == ["miss", "miss"]
    assert [await outcome(cache="always"), await outcome(cache="always")] == ["miss", "hit"]
    assert [await outcome(temperature=0, cache="never") for _ in range(2)] == ["miss", "miss"]
    assert [await outcome(seed=7, cache="auto") for _ in range(2)] == ["miss", "hit"]
    wrong = await echo_server.client.post(path, json=body | {"cache": "sometimes"})
    assert wrong.status_code == 400
    assert error_of(wrong)["param"] == "cache"


async def test_a_key_does_not_see_what_another_one_asked(echo_server: Server) -> None:
    await echo_server.chat(**GREEDY)
    key = await echo_server.new_key()
    response = await echo_server.client.post("/api/v1/chat", json=GREEDY, headers={"x-api-key": key})
    assert response.json()["cached"] is False


async def test_fifty_at_once_cost_one_computation_streams_included() -> None:
    def scripted(answer: FakeAnswer) -> None:
        answer.say("one ", "two ").finish()

    limits = Limits(max_sequences=1, max_queued=0, request_timeout=30, drain_timeout=30)
    async with running_server(FakeEngine(script=scripted), limits) as server:
        server.engine.accepting.clear()
        asked = [asyncio.create_task(server.chat(**GREEDY, stream=number % 2 == 0)) for number in range(50)]
        await server.until(lambda: server.context.inference.requests.count == 50)
        server.engine.accepting.set()
        responses = await asyncio.gather(*asked)
        assert times(server.engine) == 1
        assert {response.status_code for response in responses} == {200}
        texts = {
            "".join(event.get("delta", "") for event in events_of(response.text))
            if "delta" in response.text
            else response.json()["response"]
            for response in responses
        }
        assert texts == {"one two "}
        outcomes = [response.headers["x-neo-cache"] for response in responses]
        assert sorted(outcomes) == ["miss"] + ["shared"] * 49
        assert await server.metric("neo_generated_tokens_total", model="fake-model") == 2
        assert await server.metric("neo_response_cache_requests_total", outcome="joined") == 49


async def test_what_several_are_refused_with_names_the_field_of_each(server: Server) -> None:
    """One says ``prompt``, the other ``messages``, and both mean the same."""
    server.engine.refusal = InvalidRequest("Too long.", code="context_length_exceeded", parameter="messages")
    server.engine.accepting.clear()
    short = asyncio.create_task(server.chat(**GREEDY))
    long = asyncio.create_task(server.chat(messages=[{"role": "user", "content": "one two"}], temperature=0))
    await server.until(lambda: server.context.inference.requests.count == 2)
    server.engine.accepting.set()
    errors = [error_of(await short), error_of(await long)]
    assert [(error["param"], error["code"]) for error in errors] == [
        ("prompt", "context_length_exceeded"),
        ("messages", "context_length_exceeded"),
    ]
    assert times(server.engine) == 1


async def test_the_log_says_where_an_answer_came_from(
    echo_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    await echo_server.chat(**GREEDY)
    await echo_server.chat(**GREEDY)
    lines = [line for line in capsys.readouterr().out.splitlines() if "origin=" in line]
    assert "origin=computed" in lines[0]
    assert "origin=cached" in lines[1]
