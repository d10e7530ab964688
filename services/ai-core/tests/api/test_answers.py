"""What callers get for requests that are well formed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from access_keys import KEY
from ai_core.engine.messages import ChatMessage
from edge_server import FakeEngine, Server, events_of

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "What now?"},
]


def engine_messages(engine: FakeEngine) -> list[ChatMessage] | None:
    return engine.requests[-1].messages


async def test_a_chat_is_answered_with_text_model_usage_and_time(echo_server: Server) -> None:
    response = await echo_server.chat(messages=CONVERSATION)
    assert response.status_code == 200
    answer = response.json()
    assert datetime.now(UTC) - datetime.fromisoformat(answer.pop("timestamp")) < timedelta(minutes=1)
    assert 0 <= answer.pop("processing_time") < 60
    assert answer == {
        "response": "What now? ",
        "model": "fake-model",
        "tokens_used": 9,
        "finish_reason": "stop",
        "cached": False,
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "cached_prompt_tokens": 2},
    }


async def test_prompt_and_context_mean_the_same_as_messages(echo_server: Server) -> None:
    await echo_server.chat(messages=CONVERSATION)
    long_form = engine_messages(echo_server.engine)
    await echo_server.chat(prompt="What now?", context=CONVERSATION[:-1])
    assert engine_messages(echo_server.engine) == long_form


async def test_a_prompt_alone_is_a_chat_of_one_message(echo_server: Server) -> None:
    await echo_server.chat(prompt="Bonjour")
    assert engine_messages(echo_server.engine) == [ChatMessage("user", "Bonjour")]


async def test_generate_continues_a_raw_prompt(echo_server: Server) -> None:
    response = await echo_server.generate(prompt="Once upon a time")
    assert response.json()["response"] == "Once upon a time "
    request = echo_server.engine.requests[-1]
    assert (request.prompt, request.messages) == ("Once upon a time", None)


async def test_generate_with_a_system_prompt_is_a_chat(echo_server: Server) -> None:
    await echo_server.generate(prompt="Hello", system="Be brief.")
    assert engine_messages(echo_server.engine) == [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Hello"),
    ]


async def test_our_own_routes_have_our_defaults(echo_server: Server) -> None:
    await echo_server.chat(prompt="Hello")
    request = echo_server.engine.requests[-1]
    assert (request.max_tokens, request.sampling.temperature, request.sampling.top_p) == (512, 0.7, 0.9)


async def test_openais_route_has_openais_defaults(echo_server: Server) -> None:
    await echo_server.openai()
    request = echo_server.engine.requests[-1]
    assert (request.max_tokens, request.sampling.temperature, request.sampling.top_p) == (4096, 1.0, 1.0)


async def test_every_parameter_reaches_the_engine(echo_server: Server) -> None:
    response = await echo_server.chat(
        prompt="Hello",
        model="fake-alias",
        max_tokens=5,
        temperature=0,
        top_p=0.5,
        top_k=40,
        min_p=0.1,
        presence_penalty=-2,
        frequency_penalty=2,
        repeat_penalty=1.1,
        seed=2**32 - 1,
        logit_bias={"7": -100, "8": 1.5},
        ignore_eos=True,
        stop=["\n", "END"],
        user="someone",
        cache="never",
    )
    assert response.json()["model"] == "fake-model"
    request = echo_server.engine.requests[-1]
    sampling = request.sampling
    assert (request.max_tokens, request.stop, request.fairness_key) == (5, ["\n", "END"], f"{KEY.id}/someone")
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0, 0.5, 40, 0.1)
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.repeat_penalty) == (-2, 2, 1.1)
    assert (sampling.seed, sampling.logit_bias, sampling.ignore_eos) == (2**32 - 1, {7: -100, 8: 1.5}, True)
    assert request.timeout == 30


async def test_null_means_the_default_and_one_stop_string_needs_no_list(echo_server: Server) -> None:
    await echo_server.chat(prompt="Hello", temperature=None, seed=None, max_tokens=None, stop="END")
    request = echo_server.engine.requests[-1]
    assert (request.sampling.temperature, request.max_tokens, request.stop) == (0.7, 512, ["END"])


async def test_our_stream_is_deltas_and_then_the_whole_answer(echo_server: Server) -> None:
    response = await echo_server.chat(prompt="one two", stream=True)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-accel-buffering"] == "no"
    *deltas, last = events_of(response.text)
    assert deltas == [{"delta": "one "}, {"delta": "two "}]
    whole = (await echo_server.chat(prompt="one two")).json()
    for answer in (last, whole):
        del answer["processing_time"], answer["timestamp"]
    assert last == whole


async def test_text_held_back_until_the_end_is_streamed_too(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("one", "").finish("length", " and two")
    response = await server.chat(prompt="count", stream=True)
    *deltas, last = events_of(response.text)
    assert deltas == [{"delta": "one"}, {"delta": " and two"}]
    assert last["response"] == "one and two"
    assert last["finish_reason"] == "length"
    assert last["usage"]["completion_tokens"] == 2


async def test_text_survives_json_and_events_whatever_it_holds(server: Server) -> None:
    text = 'line\nline\r\n\n"quoted" \\ \u2028 \x00 é 🦉 data: [DONE]'
    server.engine.script = lambda answer: answer.say(text).finish()
    streamed = events_of((await server.chat(prompt="Hello", stream=True)).text)
    chunks = events_of((await server.openai(stream=True)).text)
    assert streamed[0]["delta"] == text
    assert chunks[1]["choices"][0]["delta"]["content"] == text
    assert (await server.chat(prompt="Hello")).json()["response"] == text


async def test_a_chat_completion_has_openais_shape(echo_server: Server) -> None:
    answer = (await echo_server.openai(model="fake-model")).json()
    assert answer.pop("id").startswith("chatcmpl-")
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "object": "chat.completion",
        "model": "fake-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello ", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 1,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }


async def test_an_openai_stream_is_role_text_reason_and_done(echo_server: Server) -> None:
    response = await echo_server.openai(stream=True)
    assert response.text.endswith("data: [DONE]\n\n")
    chunks = events_of(response.text)
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hello "},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]
    assert all("usage" not in chunk for chunk in chunks)


async def test_an_openai_stream_counts_tokens_when_asked(echo_server: Server) -> None:
    response = await echo_server.openai(stream=True, stream_options={"include_usage": True})
    *chunks, last = events_of(response.text)
    assert [chunk["usage"] for chunk in chunks] == [None, None, None]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 8


async def test_openais_content_parts_and_developer_role_are_understood(echo_server: Server) -> None:
    parts = [{"type": "text", "text": "first"}, {"type": "text", "text": "second"}]
    await echo_server.openai(
        messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    )
    assert engine_messages(echo_server.engine) == [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "first\nsecond"),
    ]


async def test_an_answer_can_be_sent_back_as_it_came(echo_server: Server) -> None:
    message = (await echo_server.openai()).json()["choices"][0]["message"]
    message |= {"tool_calls": None, "annotations": [], "audio": None, "function_call": None}
    response = await echo_server.openai(messages=[message, {"role": "user", "content": "Again"}])
    assert response.status_code == 200


async def test_openai_parameters_that_ask_for_nothing_are_taken(echo_server: Server) -> None:
    idle: dict[str, Any] = {
        "n": 1,
        "tools": [],
        "tool_choice": "none",
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "logprobs": False,
        "top_logprobs": None,
        "store": False,
        "metadata": {"team": "legal"},
        "service_tier": "auto",
        "modalities": ["text"],
    }
    assert (await echo_server.openai(**idle)).status_code == 200


async def test_openais_newer_names_are_honoured(echo_server: Server) -> None:
    await echo_server.openai(max_completion_tokens=3, safety_identifier="someone")
    request = echo_server.engine.requests[-1]
    assert (request.max_tokens, request.fairness_key) == (3, f"{KEY.id}/someone")


async def test_the_callers_request_id_comes_back(echo_server: Server) -> None:
    headers = {"x-request-id": "ticket-42"}
    response = await echo_server.client.post("/api/v1/chat", json={"prompt": "Hello"}, headers=headers)
    assert response.headers["x-request-id"] == "ticket-42"


async def test_a_request_id_that_could_break_a_log_is_replaced(echo_server: Server) -> None:
    for unusable in ("a b", "x" * 129, "é"):
        response = await echo_server.client.get("/livez", headers=[(b"x-request-id", unusable.encode())])
        assert len(response.headers["x-request-id"]) == 32
