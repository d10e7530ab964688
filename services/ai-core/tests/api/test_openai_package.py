"""OpenAI's own client library, pointed at this server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from access_keys import KEY
from ai_core import errors
from edge_server import Server

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]
MODEL = "fake-model"


@pytest.fixture
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"http://127.0.0.1:{server.port}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=str(KEY), max_retries=0, timeout=20) as client:
        yield client


def repeat(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("Hello ", "there").finish()


async def test_a_completion(server: Server, client: openai.AsyncOpenAI) -> None:
    repeat(server)
    completion = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=5, seed=1)
    assert completion.choices[0].message.content == "Hello there"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 9
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 2


async def test_a_conversation_in_which_answers_are_sent_back(
    server: Server, client: openai.AsyncOpenAI
) -> None:
    repeat(server)
    first = await client.chat.completions.create(model=MODEL, messages=HELLO)
    history = [*HELLO, first.choices[0].message.model_dump(), *HELLO]
    await client.chat.completions.create(model=MODEL, messages=history)  # type: ignore[arg-type]
    request = server.engine.requests[-1]
    assert request.messages is not None
    assert [message.role for message in request.messages] == ["user", "assistant", "user"]


async def test_a_stream_with_usage(server: Server, client: openai.AsyncOpenAI) -> None:
    repeat(server)
    stream = await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "Hello there"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.InvalidRequest("no", parameter="messages"), openai.BadRequestError),
        (errors.ModelNotFound("no", parameter="model"), openai.NotFoundError),
        (errors.Overloaded("no", retry_after=1), openai.RateLimitError),
        (errors.EngineUnavailable("no", retry_after=1), openai.InternalServerError),
    ],
)
async def test_errors_become_the_classes_of_the_library(
    server: Server, client: openai.AsyncOpenAI, error: errors.NeoError, expected: type[openai.APIStatusError]
) -> None:
    server.engine.refusal = error
    with pytest.raises(expected) as caught:
        await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert (caught.value.code, caught.value.param) == (error.code, error.parameter)


async def test_a_stream_that_breaks_off_raises(server: Server, client: openai.AsyncOpenAI) -> None:
    lost = errors.EngineUnavailable("The engine was lost.", retry_after=1)
    server.engine.script = lambda answer: answer.say("Hello").fail(lost)
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="The engine was lost"):
        async for _ in stream:
            pass


async def test_the_library_comes_back_after_retry_after(server: Server, client: openai.AsyncOpenAI) -> None:
    server.engine.refusal = errors.Overloaded("no", retry_after=0.5)
    patient = client.with_options(max_retries=1)
    asking = asyncio.create_task(patient.chat.completions.create(model=MODEL, messages=HELLO))
    await server.engine.arrived.wait()
    await server.until_idle()
    server.engine.refusal = None
    repeat(server)
    assert (await asking).choices[0].message.content == "Hello there"
    assert len(server.engine.requests) == 2


async def test_its_time_out_is_an_error_of_its_own_and_frees_the_place(
    server: Server, client: openai.AsyncOpenAI
) -> None:
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.2).chat.completions.create(model=MODEL, messages=HELLO)
    answer = await server.engine.next_answer()
    await answer.cancelled.wait()
    await server.until_idle()


async def test_a_stream_that_is_closed_early_frees_its_sequence(
    server: Server, client: openai.AsyncOpenAI
) -> None:
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    answer = await server.engine.next_answer()
    answer.say("Hello")
    await stream.close()
    await answer.cancelled.wait()
    await server.until_idle()


async def test_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [MODEL, "fake-alias"]
    assert (await client.models.retrieve(MODEL)).id == MODEL
