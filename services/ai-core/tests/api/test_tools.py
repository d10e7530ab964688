"""Functions in OpenAI's form, over HTTP: what reaches the engine, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_core.api.json_body import parse
from ai_core.api.openai_requests import ChatCompletionBody
from ai_core.engine.messages import ChatMessage, ChatOptions, Tool, ToolCall
from ai_core.errors import InvalidRequest
from edge_server import Server, error_of, events_of

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Tells the weather.", "parameters": SCHEMA},
}
NOW = {"type": "function", "function": {"name": "now"}}
NAMED = {"type": "function", "function": {"name": "now"}}
USER = {"role": "user", "content": "Quel temps ?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "content": "12:00", "tool_call_id": "call_1"}


async def chat_options(server: Server, **body: Any) -> ChatOptions:
    response = await server.openai(**body)
    assert response.status_code == 200, response.text
    return server.engine.requests[-1].chat


def refused(body: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(json.dumps({"messages": [USER]} | body).encode(), ChatCompletionBody).to_requests()
    return caught.value


async def test_tools_reach_the_engine(echo_server: Server) -> None:
    options = await chat_options(echo_server, tools=[WEATHER, NOW])
    assert options.tools == [Tool("get_weather", "Tells the weather.", SCHEMA), Tool("now")]
    assert (options.tool_choice, options.forced_tool, options.parallel_tool_calls) == ("auto", "", True)


@pytest.mark.parametrize(
    ("choice", "tools", "required", "forced"),
    [
        (None, 2, "auto", ""),
        ("auto", 2, "auto", ""),
        ("none", 0, "auto", ""),
        ("required", 2, "required", ""),
        (NAMED, 2, "auto", "now"),
    ],
)
async def test_the_choice_of_a_tool_reaches_the_engine(
    echo_server: Server, choice: Any, tools: int, required: str, forced: str
) -> None:
    options = await chat_options(echo_server, tools=[WEATHER, NOW], tool_choice=choice)
    assert (len(options.tools), options.tool_choice, options.forced_tool) == (tools, required, forced)


async def test_one_call_at_a_time_reaches_the_engine(echo_server: Server) -> None:
    assert not (await chat_options(echo_server, tools=[NOW], parallel_tool_calls=False)).parallel_tool_calls


async def test_calls_and_results_of_before_reach_the_engine(echo_server: Server) -> None:
    echoed = ASKED | {"refusal": None, "annotations": [], "audio": None, "function_call": None}
    await chat_options(echo_server, messages=[USER, echoed, TOLD | {"name": "now"}], tools=[NOW])
    assert echo_server.engine.requests[-1].messages == [
        ChatMessage("user", "Quel temps ?"),
        ChatMessage("assistant", "", [ToolCall("call_1", "now", "{}")]),
        ChatMessage("tool", "12:00", tool_call_id="call_1", name="now"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "x" * 65}}]}, "tools[0].function.name"),
        ({"tools": [NOW, NOW]}, "tools[1].function.name"),
        ({"tools": [NOW] * 129}, "tools"),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"x": [1] * 9_999}}}]},
            "tools[0].function.parameters",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"x": 2**64}}}]},
            "tools[0].function.parameters",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"x": float("nan")}}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": NAMED}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": NAMED}, "tool_choice"),
        ({"tools": [NOW], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [NOW], "tool_choice": {"type": "function", "name": "now"}}, "tool_choice"),
        ({"tools": [NOW], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, "messages[0].content"),
        ({"messages": [USER, ASKED, {"role": "tool", "content": "x"}]}, "messages[2].tool_call_id"),
        ({"messages": [USER, TOLD]}, "messages[1].tool_call_id"),
        ({"messages": [USER, ASKED, {"role": "tool", "tool_call_id": "call_1"}]}, "messages[2].content"),
        ({"messages": [USER | {"tool_calls": [CALL]}]}, "messages[0].tool_calls"),
        ({"messages": [USER | {"tool_call_id": "call_1"}]}, "messages[0].tool_call_id"),
        ({"messages": [USER | {"reasoning_content": "hm"}]}, "messages[0].reasoning_content"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL | {"id": "<|im_end|>"}]}]},
            "messages[0].tool_calls[0].id",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL | {"type": "custom"}]}]},
            "messages[0].tool_calls[0].type",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body: dict[str, Any], field: str) -> None:
    assert refused(body).parameter == field


async def test_a_model_without_tools_refuses_them_with_a_400_that_names_them(server: Server) -> None:
    server.engine.refusal = InvalidRequest(
        "This model takes no tools.", code="tools_not_supported", parameter="tools"
    )
    response = await server.openai(tools=[NOW])
    assert response.status_code == 400
    assert (error_of(response)["code"], error_of(response)["param"]) == ("tools_not_supported", "tools")


async def test_calls_come_back_in_openais_form(server: Server) -> None:
    server.engine.script = lambda answer: (
        answer.call(0, "now", "{", "}").call(1, "get_weather", '{"city"', ": 1}").finish("tool_calls")
    )
    (choice,) = (await server.openai(tools=[WEATHER, NOW])).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    message = choice["message"]
    assert (message["role"], message["content"]) == ("assistant", None)
    first, second = message["tool_calls"]
    assert first["id"] != second["id"]
    assert {first.pop("id")[:5], second.pop("id")[:5]} == {"call_"}
    assert first == {"type": "function", "function": {"name": "now", "arguments": "{}"}}
    assert second["function"] == {"name": "get_weather", "arguments": '{"city": 1}'}


async def test_text_beside_a_call_is_kept(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("I look.").call(0, "now").finish("tool_calls")
    (choice,) = (await server.openai(tools=[NOW])).json()["choices"]
    assert choice["message"]["content"] == "I look."
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "now", "arguments": ""}


async def test_calls_stream_piece_by_piece(server: Server) -> None:
    server.engine.script = lambda answer: (
        answer.say("Wait.").call(0, "now", "{", "}").call(1, "now", "{}").finish("tool_calls")
    )
    chunks = events_of((await server.openai(tools=[NOW], stream=True)).text)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[1] == {"content": "Wait."}
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    ids = [call.pop("id") for call in calls if "id" in call]
    assert len(set(ids)) == 2
    assert calls == [
        {"index": 0, "type": "function", "function": {"name": "now", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{"}},
        {"index": 0, "function": {"arguments": "}"}},
        {"index": 1, "type": "function", "function": {"name": "now", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_call_that_was_cut_off_is_given_as_far_as_it_came(server: Server) -> None:
    server.engine.script = lambda answer: answer.call(0, "now", '{"zone": "Eu').finish("length")
    (choice,) = (await server.openai(tools=[NOW])).json()["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"zone": "Eu'


async def test_the_list_of_models_says_who_takes_tools_and_who_thinks(server: Server) -> None:
    (model,) = (await server.client.get("/api/v1/models")).json()["models"]
    assert (model["supports_tools"], model["supports_reasoning"]) == (False, False)
