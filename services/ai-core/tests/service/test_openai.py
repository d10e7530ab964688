"""OpenAI's own SDK against the running service: it notices nothing."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from ai_core_service import QUESTIONS, Server

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTIONS[6]}]


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def test_a_completion(client: openai.OpenAI, server: Server) -> None:
    answer = client.chat.completions.create(model="neo-demo", messages=MESSAGES, temperature=0)
    assert answer.choices[0].message.content == server.say(QUESTIONS[6])["response"]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_with_usage(client: openai.OpenAI, server: Server) -> None:
    chunks = list(
        client.chat.completions.create(
            model="neo-demo",
            messages=MESSAGES,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == server.say(QUESTIONS[6])["response"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 1


def test_errors_become_its_exception_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="neo-demo", messages=MESSAGES, temperature=9)
    assert refused.value.param == "temperature"


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["neo-demo"]
