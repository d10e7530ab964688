"""What callers get for requests that cannot be answered: 4xx, one shape, the field by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_core.api.completion_requests import CompletionBody
from ai_core.api.json_body import explain, field_path, parse
from ai_core.api.native_requests import ChatBody, GenerateBody
from ai_core.api.openai_requests import ChatCompletionBody
from ai_core.errors import InvalidRequest, NeoError
from ai_core.inference.requests import GenerationRequest
from edge_server import Server, error_of

USER = {"role": "user", "content": "Hello"}
DEEP = 10_000

BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": [USER] * 10_001}, "messages"),
    ({"messages": ["Hello"]}, "messages[0]"),
    ({"messages": [{"role": "robot", "content": "Hello"}]}, "messages[0].role"),
    ({"messages": [USER, {"role": "user"}]}, "messages[1].content"),
    ({"messages": [USER, {"content": "Hello"}]}, "messages[1].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
    ({"messages": [USER | {"name": "Ada"}]}, "messages[0].name"),
    ({"messages": [USER | {"extra": 1}]}, "messages[0].extra"),
    ({"messages": [USER], "temperatur": 1}, "temperatur"),
    ({"messages": [USER], "temperature": -0.1}, "temperature"),
    ({"messages": [USER], "temperature": 2.1}, "temperature"),
    ({"messages": [USER], "temperature": float("nan")}, "temperature"),
    ({"messages": [USER], "temperature": float("inf")}, "temperature"),
    ({"messages": [USER], "temperature": "hot"}, "temperature"),
    ({"messages": [USER], "temperature": True}, "temperature"),
    ({"messages": [USER], "temperature": 10**400}, "temperature"),
    ({"messages": [USER], "top_p": 0}, "top_p"),
    ({"messages": [USER], "top_p": 1.01}, "top_p"),
    ({"messages": [USER], "top_k": -1}, "top_k"),
    ({"messages": [USER], "top_k": 1.5}, "top_k"),
    ({"messages": [USER], "min_p": 2}, "min_p"),
    ({"messages": [USER], "presence_penalty": 3}, "presence_penalty"),
    ({"messages": [USER], "frequency_penalty": -3}, "frequency_penalty"),
    ({"messages": [USER], "repeat_penalty": 0}, "repeat_penalty"),
    ({"messages": [USER], "seed": -1}, "seed"),
    ({"messages": [USER], "seed": 2**32}, "seed"),
    ({"messages": [USER], "max_tokens": 0}, "max_tokens"),
    ({"messages": [USER], "max_tokens": -5}, "max_tokens"),
    ({"messages": [USER], "max_tokens": 10**30}, "max_tokens"),
    ({"messages": [USER], "stop": 5}, "stop"),
    ({"messages": [USER], "stop": ""}, "stop[0]"),
    ({"messages": [USER], "stop": ["a", "x" * 257]}, "stop[1]"),
    ({"messages": [USER], "stop": ["x"] * 10_000}, "stop"),
    ({"messages": [USER], "logit_bias": {"the": 1}}, "logit_bias"),
    ({"messages": [USER], "logit_bias": {"-1": 1}}, "logit_bias"),
    ({"messages": [USER], "logit_bias": {"1": 101}}, "logit_bias.1"),
    ({"messages": [USER], "logit_bias": {str(token): 1 for token in range(1_025)}}, "logit_bias"),
    ({"messages": [USER], "stream": "yes"}, "stream"),
    ({"messages": [USER], "ignore_eos": 1}, "ignore_eos"),
    ({"messages": [USER], "user": "x" * 257}, "user"),
    ({"messages": [USER], "model": 5}, "model"),
]


Body = ChatBody | GenerateBody | ChatCompletionBody | CompletionBody
Shape = type[Body]


def requests_of(body: Body) -> list[GenerationRequest]:
    return [body.to_request()] if isinstance(body, ChatBody | GenerateBody) else body.to_requests()


def refusal(shape: Shape, body: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        requests_of(parse(json.dumps(body).encode(), shape))
    return caught.value


@pytest.mark.parametrize("shape", [ChatBody, ChatCompletionBody])
@pytest.mark.parametrize(("body", "field"), BAD_FIELDS, ids=[field for _, field in BAD_FIELDS])
def test_the_field_at_fault_is_named(
    shape: type[ChatBody | ChatCompletionBody], body: dict[str, Any], field: str
) -> None:
    error = refusal(shape, body)
    assert error.parameter == field
    assert field in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"store": True}, "store"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_openai_parameters_that_are_not_there_yet_are_refused(body: dict[str, Any], field: str) -> None:
    error = refusal(ChatCompletionBody, {"messages": [USER]} | body)
    assert error.parameter == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [{"role": "tool", "content": "Hello"}]}, "messages[0].role"),
        ({"messages": [USER | {"tool_calls": [{"id": "1"}]}]}, "messages[0].tool_calls"),
        ({"prompt": "Hello", "messages": [USER]}, "prompt"),
        ({"context": [USER], "messages": [USER]}, "context"),
        ({"context": [USER]}, "messages"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "Hello", "context": [{"role": "robot", "content": "x"}]}, "context[0].role"),
    ],
)
def test_our_own_chat_takes_one_form_of_messages_and_no_calls(body: dict[str, Any], field: str) -> None:
    assert refusal(ChatBody, body).parameter == field


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "prompt"), ({"prompt": ""}, "prompt"), ({"prompt": "x", "messages": [USER]}, "messages")],
)
def test_generate_takes_a_prompt_only(body: dict[str, Any], field: str) -> None:
    assert refusal(GenerateBody, body).parameter == field


NOT_JSON = {
    "empty": b"",
    "text": b"Hello",
    "cut short": b'{"prompt": "Hel',
    "invalid UTF-8": b'{"prompt": "\xff\xfe"}',
    "an encoded surrogate": b'{"prompt": "\xed\xa0\x80"}',
    "half a surrogate pair": b'{"prompt": "\\ud800"}',
    "UTF-16": '{"prompt": "Hello"}'.encode("utf-16"),
    "deep lists": b"[" * DEEP,
    "deep objects": b'{"prompt":' * DEEP,
    "deep and closed": b'{"prompt":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "an endless number": b'{"seed": 1' + b"0" * 5_000 + b"}",
    "a number": b"5",
    "a list": b"[]",
    "null": b"null",
    "two documents": b"{}{}",
}


@pytest.mark.parametrize("content", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_a_body_that_is_no_json_object_says_so(content: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(content, ChatBody)
    assert caught.value.code == "invalid_json"
    assert "body" in caught.value.message


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_json_lacks_are_refused_by_name(number: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(b'{"prompt": "Hello", "temperature": ' + number + b"}", ChatBody)
    assert caught.value.parameter == "temperature"


async def test_bad_fields_are_400_over_http_and_not_fastapis_422(echo_server: Server) -> None:
    response = await echo_server.chat(messages=[{"role": "robot", "content": "Hello"}])
    assert response.status_code == 400
    assert error_of(response) == {
        "message": "'messages[0].role' should be 'system', 'developer', 'user' or 'assistant'.",
        "type": "invalid_request_error",
        "param": "messages[0].role",
        "code": "invalid_value",
    }


async def test_unknown_fields_say_that_they_are_unknown(echo_server: Server) -> None:
    error = error_of(await echo_server.chat(prompt="Hello", temprature=1))
    assert (error["param"], error["code"]) == ("temprature", "unknown_parameter")
    assert "spelling" in error["message"]


async def test_an_unknown_model_is_a_404_that_lists_the_models(echo_server: Server) -> None:
    response = await echo_server.chat(prompt="Hello", model="gpt-9")
    assert response.status_code == 404
    error = error_of(response)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "fake-model" in error["message"]


async def test_what_the_engine_refuses_is_a_400_with_its_words(server: Server) -> None:
    server.engine.refusal = InvalidRequest(
        "The prompt has 9000 tokens; the context has 4096.",
        code="context_length_exceeded",
        parameter="messages",
    )
    for stream in (False, True):
        response = await server.chat(messages=[USER], stream=stream)
        assert response.status_code == 400
        error = error_of(response)
        assert (error["param"], error["code"]) == ("messages", "context_length_exceeded")
    await server.until_idle()


async def test_what_the_engine_refuses_is_named_as_the_caller_calls_it(server: Server) -> None:
    server.engine.refusal = InvalidRequest("too long", parameter="messages")
    assert error_of(await server.chat(prompt="Hello"))["param"] == "prompt"
    assert error_of(await server.generate(prompt="Hello", system="x"))["param"] == "prompt"
    assert error_of(await server.chat(messages=[USER]))["param"] == "messages"
    assert error_of(await server.openai())["param"] == "messages"
    server.engine.refusal = InvalidRequest("no such token", parameter="logit_bias")
    assert error_of(await server.chat(prompt="Hello"))["param"] == "logit_bias"


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_other_media_types_are_a_415_that_says_what_to_send(
    echo_server: Server, headers: dict[str, str]
) -> None:
    response = await echo_server.raw(b'{"prompt": "Hello"}', **headers)
    assert response.status_code == 415
    assert error_of(response)["code"] == "unsupported_media_type"


async def test_a_charset_beside_the_media_type_is_fine(echo_server: Server) -> None:
    response = await echo_server.raw(
        b'{"prompt": "Hello"}', **{"content-type": "Application/JSON; charset=utf-8"}
    )
    assert response.status_code == 200


async def test_huge_names_and_models_are_not_echoed_in_full(echo_server: Server) -> None:
    for body in ({"prompt": "Hello", "k" * 50_000: 1}, {"prompt": "Hello", "model": "m" * 50_000}):
        response = await echo_server.chat(**body)
        assert response.status_code in {400, 404}
        assert len(response.content) < 1_000


async def test_thousands_of_unknown_fields_are_one_short_error(echo_server: Server) -> None:
    many = {f"k{number}": 1 for number in range(5_000)}
    assert (await echo_server.chat(prompt="Hello", **many)).status_code == 400
    error = error_of(await echo_server.chat(messages=[USER | many]))
    assert error["param"] == "messages[0]"


async def test_bad_input_harms_no_other_request(server: Server) -> None:
    async with server.client.stream("POST", "/api/v1/chat", json={"prompt": "x", "stream": True}) as stream:
        answer = await server.engine.next_answer()
        for content in NOT_JSON.values():
            refused = await server.raw(content)
            assert refused.status_code == 400
            assert error_of(refused)["code"] == "invalid_json"
        answer.say("still here").finish()
        assert "still here" in (await stream.aread()).decode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
field_names = st.sampled_from(
    [*ChatCompletionBody.model_fields, *ChatBody.model_fields, "role", "content", "type", "text"]
)
bodies = st.dictionaries(field_names | st.text(max_size=10), json_values, max_size=6)


def outcome(body: dict[str, Any], shape: Shape) -> GenerationRequest | NeoError:
    try:
        return requests_of(parse(json.dumps(body).encode(), shape))[0]
    except NeoError as error:
        return error


@given(bodies, st.sampled_from([ChatBody, GenerateBody, ChatCompletionBody, CompletionBody]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_a_request_or_a_refusal(body: dict[str, Any], shape: Shape) -> None:
    result = outcome(body, shape)
    if isinstance(result, GenerationRequest):
        assert (result.messages is None) != (result.prompt is None)
    else:
        assert isinstance(result, InvalidRequest)
        assert result.message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_refusal(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        # No object that random bytes make holds the fields that are required.
        parse(content, ChatCompletionBody)


@given(st.lists(st.integers(0, 99) | st.text(max_size=200), max_size=5))
def test_paths_stay_readable(place: list[int | str]) -> None:
    assert len(field_path(place)) <= 5 * 62


def test_a_path_reads_like_code() -> None:
    assert field_path(("messages", 0, "role")) == "messages[0].role"
    error = explain({"type": "missing", "loc": ("prompt",), "msg": "Field required", "input": {}})
    assert error.message == "'prompt' is missing."
