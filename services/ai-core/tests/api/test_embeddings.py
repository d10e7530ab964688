"""OpenAI's embeddings, over an engine that does what a test says."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from access_keys import KEY
from ai_core.errors import EngineUnavailable, InvalidRequest
from edge_server import FakeAnswer, Server, error_of

MODEL = "fake-model"
VECTOR = [0.25, -0.5, 0.125]


def numbered(answer: FakeAnswer) -> None:
    """One vector per input; its first number tells which."""
    answer.embed(*([float(number), 0.5, -0.5] for number, _ in enumerate(answer.request.inputs or ())))


async def embed(server: Server, **body: Any) -> httpx.Response:
    return await server.client.post("/v1/embeddings", json={"model": MODEL} | body)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    server.engine.script = numbered
    url = f"http://127.0.0.1:{server.port}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=str(KEY), max_retries=0, timeout=20) as client:
        yield client


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("Bonjour", ["Bonjour"]),
        (["Bonjour", "salut"], ["Bonjour", "salut"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["Bonjour", [1, 2]], ["Bonjour", [1, 2]]),
    ],
)
async def test_every_form_of_input_reaches_the_engine(server: Server, given: Any, inputs: Any) -> None:
    server.engine.script = numbered
    response = await embed(server, input=given)
    assert response.status_code == 200
    assert server.engine.requests[-1].inputs == inputs
    assert response.json() == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": [float(index), 0.5, -0.5]}
            for index in range(len(inputs))
        ],
        "model": MODEL,
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


async def test_base64_holds_the_same_numbers(server: Server) -> None:
    server.engine.script = lambda answer: answer.embed(VECTOR)
    response = await embed(server, input="a", encoding_format="base64")
    packed = base64.b64decode(response.json()["data"][0]["embedding"])
    assert list(struct.unpack("<3f", packed)) == VECTOR


async def test_thousands_of_vectors_come_in_order(server: Server) -> None:
    server.engine.script = numbered
    data = (await embed(server, input=["text"] * 2_048)).json()["data"]
    assert [one["index"] for one in data] == list(range(2_048))
    assert [one["embedding"][0] for one in data] == [float(number) for number in range(2_048)]


async def test_openais_package_gets_what_it_asks_for(client: openai.AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model=MODEL, input=["un", "deux"])
    assert [one.embedding for one in answer.data] == [[0.0, 0.5, -0.5], [1.0, 0.5, -0.5]]
    assert answer.usage.total_tokens == 7
    floats = await client.embeddings.create(model="fake-alias", input="un", encoding_format="float")
    assert floats.data[0].embedding == [0.0, 0.5, -0.5]


async def test_dimensions_and_user_are_passed_on(server: Server) -> None:
    server.engine.script = numbered
    assert (await embed(server, input="a", dimensions=3, user="u")).status_code == 200
    assert server.engine.requests[-1].dimensions == 3


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [True]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [2**31]}, "input"),
        ({"input": [1.5]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": [[["a"]]]}, "input"),
        ({"input": ["a"] * 2_049}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": "3"}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "model": None}, "model"),
        ({"input": "a", "truncate": True}, "truncate"),
    ],
)
async def test_a_bad_field_is_named(server: Server, body: Any, param: str) -> None:
    response = await embed(server, **body)
    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert not server.engine.requests


async def test_the_model_has_to_be_named(server: Server) -> None:
    response = await server.client.post("/v1/embeddings", json={"input": "a"})
    assert (response.status_code, error_of(response)["param"]) == (400, "model")


async def test_half_a_surrogate_pair_is_a_bad_request(server: Server) -> None:
    response = await server.raw(b'{"model": "fake-model", "input": "\\ud800"}', "/v1/embeddings")
    assert response.status_code == 400


async def test_what_the_engine_says_comes_back(server: Server) -> None:
    server.engine.refusal = InvalidRequest("no", code="model_not_capable", parameter="model")
    response = await embed(server, input="a")
    assert response.status_code == 400
    assert error_of(response)["code"] == "model_not_capable"
    server.engine.refusal = EngineUnavailable("loading", retry_after=3)
    response = await embed(server, input="a")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")


async def test_an_engine_that_breaks_off_is_an_error_and_no_half_answer(server: Server) -> None:
    server.engine.script = lambda answer: answer.finish("cancelled")
    response = await embed(server, input="a")
    assert (response.status_code, error_of(response)["code"]) == (500, "cancelled")


async def test_without_a_key_nothing_is_embedded(server: Server) -> None:
    response = await server.anonymous.post("/v1/embeddings", json={"model": MODEL, "input": "a"})
    assert response.status_code == 401
    assert not server.engine.requests


async def test_who_leaves_stops_the_computing(server: Server) -> None:
    call = asyncio.create_task(embed(server, input="a"))
    answer = await server.engine.next_answer()
    call.cancel()
    await answer.cancelled.wait()
    await server.until_idle()


async def test_the_same_texts_are_computed_once(server: Server) -> None:
    server.engine.script = numbered
    vectors = [(await embed(server, input=["a", "b"])).json()["data"] for _ in range(2)]
    assert vectors[0] == vectors[1]
    assert len(server.engine.requests) == 1
    await embed(server, input=["b", "a"])
    assert len(server.engine.requests) == 2


async def test_a_full_house_says_when_to_come_back(server: Server) -> None:
    calls = [asyncio.create_task(embed(server, input=f"text {number}")) for number in range(5)]
    done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    refused = done.pop().result()
    assert refused.status_code == 429
    assert "retry-after" in refused.headers
    for _ in waiting:
        (await server.engine.next_answer()).embed(VECTOR)
    assert [call.result().status_code for call in (await asyncio.wait(waiting))[0]] == [200] * 4
