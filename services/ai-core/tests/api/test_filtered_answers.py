"""The content filter, as callers meet it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ai_core.inference.content_filter.current import ContentFilter
from ai_core.inference.content_filter.metrics import ContentFilterMetrics
from ai_core.inference.content_filter.source import Filtering
from edge_server import FakeEngine, Server, error_of, events_of, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    path = tmp_path / "filter.txt"
    path.write_text("[prompt]\nword: interdit\n[answer]\nword: mot secret\n")
    filtering = Filtering(ContentFilter(path), ContentFilterMetrics(CollectorRegistry()))
    engine = FakeEngine(script=lambda answer: answer.say("Voici ", "le mot ", "sec", "ret, ", "oui").finish())
    async with running_server(engine, filtering=filtering) as server:
        yield server


async def test_a_forbidden_prompt_is_a_bad_request(server: Server) -> None:
    for response, param in [
        (await server.chat(prompt="C'est Interdit ?"), "prompt"),
        (await server.chat(messages=[{"role": "user", "content": "INTERDIT"}]), "messages"),
        (await server.generate(prompt="interdit"), "prompt"),
        (await server.openai(messages=[{"role": "user", "content": "interdit"}]), "messages"),
        (await server.chat(prompt="interdit", stream=True), "prompt"),
        (
            await server.client.post("/v1/embeddings", json={"model": "fake-model", "input": "interdit"}),
            "input",
        ),
    ]:
        assert response.status_code == 400
        error = error_of(response)
        assert (error["code"], error["param"]) == ("content_filtered", param)
        assert "interdit" not in error["message"].lower()
    assert not server.engine.requests


async def test_a_forbidden_answer_ends_before_it_and_says_why(server: Server) -> None:
    native = (await server.chat(prompt="Bonjour")).json()
    assert (native["response"], native["finish_reason"]) == ("Voici le ", "content_filter")
    choice = (await server.openai()).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Voici le ", "content_filter")


async def test_a_stream_never_shows_the_beginning_of_what_is_forbidden(server: Server) -> None:
    events = events_of((await server.chat(prompt="Bonjour", stream=True)).text)
    assert "".join(event["delta"] for event in events if "delta" in event) == "Voici le "
    assert (events[-1]["response"], events[-1]["finish_reason"]) == ("Voici le ", "content_filter")
    chunks = events_of((await server.openai(stream=True)).text)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "Voici le "
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"


async def test_the_engine_stops_when_an_answer_is_cut_short(server: Server) -> None:
    server.engine.script = None
    async with server.client.stream("POST", "/api/v1/chat", json={"prompt": "a", "stream": True}) as response:
        answer = await server.engine.next_answer()
        answer.say("Le mot secret. ", "Et ainsi de suite")
        await response.aread()
        await answer.cancelled.wait()


async def test_everything_else_passes(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("Un mot ", "secrétaire").finish()
    answer = (await server.chat(prompt="Bonjour")).json()
    assert (answer["response"], answer["finish_reason"]) == ("Un mot secrétaire", "stop")
