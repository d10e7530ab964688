"""What a model thinks, over HTTP: a field of its own, for those who ask for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_core.engine.messages import ChatMessage
from edge_server import FakeAnswer, Server, error_of, events_of


def think_and_say(answer: FakeAnswer) -> None:
    answer.think("I wonder", ".").say("Yes", ".").finish()


async def test_thoughts_are_left_out_unless_asked_for(server: Server) -> None:
    server.engine.script = think_and_say
    answer = (await server.chat(prompt="?")).json()
    assert answer["response"] == "Yes."
    assert "reasoning" not in answer
    assert (answer["usage"]["completion_tokens"], answer["usage"]["reasoning_tokens"]) == (4, 2)
    whole = (await server.openai()).json()
    assert "I wonder" not in str(whole)
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
    for response in (await server.chat(prompt="?", stream=True), await server.openai(stream=True)):
        assert "wonder" not in response.text


async def test_who_asks_gets_them_in_a_field_of_their_own(server: Server) -> None:
    server.engine.script = think_and_say
    answer = (await server.chat(prompt="?", reasoning=True)).json()
    assert (answer["response"], answer["reasoning"]) == ("Yes.", "I wonder.")
    message = (await server.openai(reasoning=True)).json()["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Yes.", "I wonder.")


async def test_who_asks_gets_them_streamed_as_deltas_of_their_own(server: Server) -> None:
    server.engine.script = think_and_say
    *deltas, last = events_of((await server.chat(prompt="?", reasoning=True, stream=True)).text)
    assert deltas == [
        {"reasoning_delta": "I wonder"},
        {"reasoning_delta": "."},
        {"delta": "Yes"},
        {"delta": "."},
    ]
    assert (last["response"], last["reasoning"]) == ("Yes.", "I wonder.")
    chunks = events_of((await server.openai(reasoning=True, stream=True)).text)
    assert [chunk["choices"][0]["delta"] for chunk in chunks[1:-1]] == [
        {"reasoning_content": "I wonder"},
        {"reasoning_content": "."},
        {"content": "Yes"},
        {"content": "."},
    ]


async def test_a_model_that_does_not_think_has_no_thoughts(echo_server: Server) -> None:
    assert (await echo_server.chat(prompt="?", reasoning=True)).json()["reasoning"] is None
    message = (await echo_server.openai(reasoning=True)).json()["choices"][0]["message"]
    assert message["reasoning_content"] is None


async def test_an_answer_with_thoughts_can_be_sent_back_as_it_came(server: Server) -> None:
    server.engine.script = think_and_say
    message = (await server.openai(reasoning=True)).json()["choices"][0]["message"]
    response = await server.openai(messages=[message, {"role": "user", "content": "Again"}])
    assert response.status_code == 200
    assert server.engine.requests[-1].messages == [
        ChatMessage("assistant", "Yes.", reasoning="I wonder."),
        ChatMessage("user", "Again"),
    ]


@pytest.mark.parametrize("options", [{"enable_thinking": False}, {"effort": "low-2", "depth": 3, "x": 0.5}])
async def test_options_of_the_template_reach_the_engine(echo_server: Server, options: dict[str, Any]) -> None:
    await echo_server.chat(prompt="?", chat_template_kwargs=options)
    assert echo_server.engine.requests[-1].chat.template_options == options
    await echo_server.openai(chat_template_kwargs=options, reasoning_effort="low")
    chat = echo_server.engine.requests[-1].chat
    assert (chat.template_options, chat.reasoning_effort) == (options, "low")


@pytest.mark.parametrize(
    "options",
    [
        {"a": "<|im_start|>"},
        {"a": "two words"},
        {"a": None},
        {"a": []},
        {"a": 10**30},
        {"a": float("nan")},
        {"a b": 1},
        {"": 1},
        {str(n): 1 for n in range(17)},
        [],
    ],
)
async def test_options_that_could_be_more_than_options_are_refused(
    echo_server: Server, options: object
) -> None:
    content = json.dumps({"prompt": "?", "chat_template_kwargs": options}).encode()
    response = await echo_server.raw(content)
    assert response.status_code == 400
    assert error_of(response)["param"] == "chat_template_kwargs"


async def test_a_raw_prompt_takes_no_options_of_a_template(echo_server: Server) -> None:
    response = await echo_server.generate(prompt="Once", chat_template_kwargs={"enable_thinking": False})
    assert response.status_code == 400
    assert error_of(response)["param"] == "chat_template_kwargs"
    options = {"chat_template_kwargs": {"enable_thinking": False}}
    assert (await echo_server.generate(prompt="Once", system="x", **options)).status_code == 200
