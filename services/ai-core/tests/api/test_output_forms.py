"""Answers in a given form, with log probabilities, several at once; and OpenAI's older route."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ai_core.api.completion_requests import CompletionBody
from ai_core.api.json_body import parse
from ai_core.api.native_requests import ChatBody
from ai_core.api.openai_requests import ChatCompletionBody
from ai_core.engine.messages import Alternative, Grammar, TokenLogprob
from ai_core.errors import GenerationFailed, InvalidRequest
from ai_core.inference.service import Limits
from edge_server import FakeAnswer, FakeEngine, Server, echo, error_of, events_of, running_server

USER = {"role": "user", "content": "Hello"}
SCHEMA = {"type": "object", "properties": {"z": {}, "a": {"enum": ["é", 1.5]}}}
WITH_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}


async def completions(server: Server, **body: Any) -> httpx.Response:
    return await server.client.post("/v1/completions", json=body)


# --- what is asked for -----------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["openai", "chat", "generate"])
@pytest.mark.parametrize(
    ("asked", "grammar"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": None}, None),
        ({"response_format": {"type": "json_object"}}, Grammar("json_object")),
        (
            {"response_format": WITH_SCHEMA},
            Grammar("json_schema", json.dumps(SCHEMA, ensure_ascii=False)),
        ),
        ({"grammar": 'root ::= "a"'}, Grammar("gbnf", 'root ::= "a"')),
        ({"grammar": 'root ::= "a"', "response_format": {"type": "text"}}, Grammar("gbnf", 'root ::= "a"')),
    ],
)
async def test_the_form_reaches_the_engine_with_its_names_in_order(
    echo_server: Server, route: str, asked: dict[str, Any], grammar: Grammar | None
) -> None:
    body: dict[str, Any] = {"messages": [USER]} if route == "openai" else {"prompt": "Hello"}
    response = await getattr(echo_server, route)(**body, **asked)
    assert response.status_code == 200
    assert echo_server.engine.requests[-1].grammar == grammar


@pytest.mark.parametrize("shape", [ChatCompletionBody, ChatBody])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (
            {"response_format": {"type": "json_object"} | {"json_schema": WITH_SCHEMA["json_schema"]}},
            "response_format",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
            "response_format.json_schema.name",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": []}}},
            "response_format.json_schema.schema",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {}, "strict": 1},
                }
            },
            "response_format.json_schema.strict",
        ),
        ({"response_format": "json"}, "response_format"),
        ({"grammar": ""}, "grammar"),
        ({"grammar": "x" * 100_001}, "grammar"),
        ({"grammar": 'root ::= "a"', "response_format": {"type": "json_object"}}, "grammar"),
    ],
)
def test_a_form_that_is_none_is_refused_by_name(shape: Any, body: dict[str, Any], field: str) -> None:
    def ask() -> None:
        asked = parse(json.dumps({"messages": [USER]} | body).encode(), shape)
        asked.to_request() if isinstance(asked, ChatBody) else asked.to_requests()

    with pytest.raises(InvalidRequest) as caught:
        ask()
    assert caught.value.parameter == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"n": True}, "n"),
        ({"logprobs": 3}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"best_of": 2}, "best_of"),
        (
            {
                "response_format": {"type": "json_object"},
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            "tools",
        ),
    ],
)
def test_what_a_chat_cannot_have_is_refused_by_name(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(json.dumps({"messages": [USER]} | body).encode(), ChatCompletionBody).to_requests()
    assert caught.value.parameter == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt[0]"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["x"] * 17}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": "x", "echo": True}, "echo"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": "x", "logprobs": 6}, "logprobs"),
        ({"prompt": "x", "logprobs": True}, "logprobs"),
        ({"prompt": ["x"] * 8, "n": 8}, "n"),
        ({"prompt": "x", "stream_options": {}}, "stream_options"),
        ({"prompt": "x", "messages": [USER]}, "messages"),
    ],
)
def test_what_a_completion_cannot_have_is_refused_by_name(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(json.dumps(body).encode(), CompletionBody).to_requests()
    assert caught.value.parameter == field


async def test_a_refusal_of_the_engine_comes_back_with_field_and_place(server: Server) -> None:
    message = "the JSON schema cannot be used: at /properties/a: the keyword 'not' is not supported"
    server.engine.refusal = InvalidRequest(message, code="invalid_json_schema", parameter="response_format")
    response = await server.openai(response_format=WITH_SCHEMA)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["param"], error["message"]) == (
        "invalid_json_schema",
        "response_format",
        message,
    )


# --- log probabilities -----------------------------------------------------------------------------------

CAF = TokenLogprob(b"caf", -0.5, False, [Alternative(b"caf", -0.5), Alternative(b"<|im_end|>", -1.5, True)])
HALF = TokenLogprob(b"\xc3", -0.25, False, [Alternative(b"\xc3", -0.25)])
OTHER_HALF = TokenLogprob(b"\xa9", 0.0, False, [])


def weigh(answer: FakeAnswer) -> None:
    answer.weigh("caf", CAF).weigh("é", HALF, OTHER_HALF).finish()


CONTENT = [
    {
        "token": "caf",
        "logprob": -0.5,
        "bytes": [99, 97, 102],
        "top_logprobs": [
            {"token": "caf", "logprob": -0.5, "bytes": [99, 97, 102]},
            {"token": "<|im_end|>", "logprob": -1.5, "bytes": None},
        ],
    },
    {
        "token": r"\xc3",
        "logprob": -0.25,
        "bytes": [195],
        "top_logprobs": [{"token": r"\xc3", "logprob": -0.25, "bytes": [195]}],
    },
    {"token": r"\xa9", "logprob": 0.0, "bytes": [169], "top_logprobs": []},
]


async def test_a_chats_log_probabilities_have_openais_form(server: Server) -> None:
    server.engine.script = weigh
    response = await server.openai(logprobs=True, top_logprobs=2)
    assert server.engine.requests[-1].logprobs == 2
    [choice] = response.json()["choices"]
    assert choice["message"]["content"] == "café"
    assert choice["logprobs"] == {"content": CONTENT, "refusal": None}


async def test_a_stream_has_them_beside_its_text(server: Server) -> None:
    server.engine.script = weigh
    response = await server.openai(logprobs=True, stream=True)
    assert server.engine.requests[-1].logprobs == 0
    chunks = [event["choices"][0] for event in events_of(response.text)]
    assert [chunk["delta"].get("content") for chunk in chunks] == ["", "caf", "é", None]
    entries = [chunk["logprobs"]["content"] for chunk in chunks if chunk["logprobs"]]
    assert entries == [CONTENT[:1], CONTENT[1:]]


async def test_without_being_asked_for_there_are_none(echo_server: Server) -> None:
    [choice] = (await echo_server.openai()).json()["choices"]
    assert choice["logprobs"] is None
    assert echo_server.engine.requests[-1].logprobs is None


async def test_a_completions_log_probabilities_have_the_older_form(server: Server) -> None:
    server.engine.script = weigh
    expected = {
        "tokens": ["caf", r"bytes:\xc3", r"bytes:\xa9"],
        "token_logprobs": [-0.5, -0.25, 0.0],
        "top_logprobs": [{"caf": -0.5, "<|im_end|>": -1.5}, {r"bytes:\xc3": -0.25}, {r"bytes:\xa9": 0.0}],
        "text_offset": [0, 3, 3],
    }
    whole = await completions(server, prompt="x", logprobs=2)
    assert whole.json()["choices"][0]["logprobs"] == expected
    streamed = events_of((await completions(server, prompt="x", logprobs=2, stream=True)).text)
    parts = [event["choices"][0]["logprobs"] for event in streamed]
    assert parts[-1] is None
    joined = {name: [value for part in parts[:-1] for value in part[name]] for name in expected}
    assert joined == expected


# --- several choices ---------------------------------------------------------------------------------------


def numbered() -> Callable[[FakeAnswer], None]:
    numbers = iter(range(100))

    def answer_with_number(answer: FakeAnswer) -> None:
        number = next(numbers)
        answer.say(f"{number}", "!" * number or "").finish("length" if number == 1 else "stop")

    return answer_with_number


ROOMY = Limits(max_sequences=8, max_queued=8, request_timeout=30, drain_timeout=30)


async def test_choices_come_together_and_the_prompt_counts_once() -> None:
    async with running_server(FakeEngine(script=numbered()), ROOMY) as server:
        answer = (await server.openai(n=3, seed=7)).json()
    assert sorted(request.sampling.seed or 0 for request in server.engine.requests) == [7, 8, 9]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    said = {choice["message"]["content"]: choice["finish_reason"] for choice in answer["choices"]}
    assert said == {"0": "stop", "1!": "length", "2!!": "stop"}
    assert answer["usage"]["prompt_tokens"] == 7
    assert answer["usage"]["completion_tokens"] == 6


async def test_a_stream_of_choices_tells_them_apart_and_ends_each() -> None:
    async with running_server(FakeEngine(script=numbered()), ROOMY) as server:
        response = await server.openai(n=3, stream=True, stream_options={"include_usage": True})
    *chunks, counts = events_of(response.text)
    said = {0: "", 1: "", 2: ""}
    ends = {}
    for chunk in chunks:
        assert chunk["usage"] is None
        [choice] = chunk["choices"]
        said[choice["index"]] += choice["delta"].get("content", "")
        if choice["finish_reason"]:
            ends[choice["index"]] = choice["finish_reason"]
    assert sorted(said.values()) == ["0", "1!", "2!!"]
    assert sorted(ends.values()) == ["length", "stop", "stop"]
    assert counts["choices"] == []
    assert counts["usage"]["total_tokens"] == 13


async def test_more_choices_than_places_are_refused_and_leave_nothing_behind() -> None:
    async with running_server(FakeEngine()) as server:
        response = await server.openai(n=8)
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        await server.until_idle()
        assert all(answer.cancelled.is_set() for answer in server.engine.answers)
        server.engine.script = echo
        assert (await server.openai()).status_code == 200


async def test_a_choice_that_breaks_off_ends_the_stream_with_an_error() -> None:
    def one_breaks(answer: FakeAnswer) -> None:
        answer.say("a")
        if len(engine.requests) == 2:
            answer.fail(GenerationFailed("It broke."))

    engine = FakeEngine(script=one_breaks)
    async with running_server(engine, ROOMY) as server:
        response = await server.openai(n=3, stream=True)
        assert '"error"' in response.text
        assert "It broke." in response.text
        await server.until_idle()


# --- /v1/completions ---------------------------------------------------------------------------------------


async def test_a_text_is_continued_without_a_chat(echo_server: Server) -> None:
    answer = (await completions(echo_server, prompt="Once upon")).json()
    request = echo_server.engine.requests[-1]
    assert (request.prompt, request.messages, request.max_tokens) == ("Once upon", None, 16)
    assert (request.sampling.temperature, request.sampling.top_p) == (1.0, 1.0)
    assert answer.pop("id").startswith("cmpl-")
    assert answer.pop("created") > 0
    assert answer == {
        "object": "text_completion",
        "model": "fake-model",
        "choices": [{"text": "Once upon ", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "total_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }


async def test_several_texts_with_several_choices_are_numbered_through() -> None:
    async with running_server(FakeEngine(script=echo), ROOMY) as server:
        answer = (await completions(server, prompt=["a", "b"], n=2)).json()
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [
        (0, "a "),
        (1, "a "),
        (2, "b "),
        (3, "b "),
    ]
    assert answer["usage"]["prompt_tokens"] == 14
    assert answer["usage"]["completion_tokens"] == 4


async def test_a_stream_of_a_completion(echo_server: Server) -> None:
    response = await completions(
        echo_server, prompt="Once upon", stream=True, stream_options={"include_usage": True}
    )
    *chunks, end, counts = events_of(response.text)
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Once ", "upon "]
    assert all(chunk["object"] == "text_completion" for chunk in chunks)
    assert end["choices"][0]["finish_reason"] == "stop"
    assert (counts["choices"], counts["usage"]["total_tokens"]) == ([], 9)


async def test_an_error_names_the_prompt(server: Server) -> None:
    server.engine.refusal = InvalidRequest("too long", code="context_length_exceeded", parameter="prompt")
    response = await completions(server, prompt="x")
    assert (response.status_code, error_of(response)["param"]) == (400, "prompt")
