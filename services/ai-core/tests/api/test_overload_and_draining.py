"""More work than there are places, and the end of the work."""

from __future__ import annotations

import asyncio
import os
import signal

import httpx

from access_keys import HEADERS
from ai_core.api.server import listen, serve
from ai_core.app import Service
from edge_server import Server, error_of

PLACES = 4


async def occupied(server: Server) -> list[asyncio.Task[httpx.Response]]:
    """As many requests under way as there are places."""
    waiting = [asyncio.create_task(server.chat(prompt=f"request {number}")) for number in range(PLACES)]
    await server.until(lambda: server.context.inference.requests.count == PLACES)
    return waiting


async def test_who_finds_no_place_gets_a_429_that_says_when_to_come_back(server: Server) -> None:
    waiting = await occupied(server)
    for stream in (False, True):
        response = await server.chat(prompt="one too many", stream=stream)
        assert response.status_code == 429
        assert error_of(response)["code"] == "overloaded"
        assert int(response.headers["retry-after"]) >= 1
    assert len(server.engine.requests) == PLACES
    for _ in waiting:
        (await server.engine.next_answer()).finish()
    assert [response.status_code for response in await asyncio.gather(*waiting)] == [200] * PLACES


async def test_a_place_that_becomes_free_can_be_taken(server: Server) -> None:
    waiting = await occupied(server)
    (await server.engine.next_answer()).finish()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    waiting.append(asyncio.create_task(server.chat(prompt="next")))
    for _ in range(PLACES):
        (await server.engine.next_answer()).finish()
    assert {response.status_code for response in await asyncio.gather(*waiting)} == {200}


async def test_a_draining_server_takes_nothing_new_and_finishes_what_runs(server: Server) -> None:
    running = asyncio.create_task(server.chat(prompt="before"))
    answer = await server.engine.next_answer()
    draining = asyncio.create_task(Service(server.context, drain_timeout=30).drain())
    await server.until(lambda: server.context.inference.requests.closed)

    refused = await server.chat(prompt="after")
    assert refused.status_code == 503
    assert error_of(refused)["code"] == "shutting_down"
    assert refused.headers["retry-after"] == "30"
    not_ready = await server.client.get("/readyz")
    assert not_ready.status_code == 503
    assert (await server.client.get("/livez")).status_code == 200
    assert (await server.client.get("/api/v1/health")).json()["status"] == "shutting_down"

    answer.say("done").finish()
    assert (await running).json()["response"] == "done"
    await draining


async def test_an_answer_that_outlasts_the_drain_time_ends_with_a_503(server: Server) -> None:
    running = asyncio.create_task(server.chat(prompt="endless"))
    await server.until(lambda: bool(server.engine.answers))
    await Service(server.context, drain_timeout=0.01).drain()
    response = await running
    assert response.status_code == 503
    assert error_of(response)["type"] == "server_error"


def serve_until_a_signal(server: Server) -> tuple[asyncio.Task[None], httpx.AsyncClient]:
    """The same application once more, served as `ai-core serve` does it."""
    listener = listen("127.0.0.1", 0)
    service = Service(server.context, drain_timeout=30)
    serving = asyncio.create_task(serve(server.application, listener, service.drain, service.hurry.set))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return serving, httpx.AsyncClient(base_url=url, trust_env=False, headers=HEADERS)


async def test_sigterm_lets_running_answers_finish_and_then_ends_serving(server: Server) -> None:
    serving, client = serve_until_a_signal(server)
    async with client:
        running = asyncio.create_task(client.post("/api/v1/chat", json={"prompt": "before"}))
        answer = await server.engine.next_answer()
        os.kill(os.getpid(), signal.SIGTERM)
        await server.until(lambda: server.context.inference.requests.closed)
        assert (await client.get("/readyz")).status_code == 503
        answer.say("done").finish()
        assert (await running).json()["response"] == "done"
    await serving


async def test_a_second_signal_breaks_off_what_still_runs(server: Server) -> None:
    serving, client = serve_until_a_signal(server)
    async with client:
        running = asyncio.create_task(client.post("/api/v1/chat", json={"prompt": "endless"}))
        await server.until(lambda: bool(server.engine.answers))
        os.kill(os.getpid(), signal.SIGINT)
        await server.until(lambda: server.context.inference.requests.closed)
        os.kill(os.getpid(), signal.SIGINT)
        assert (await running).status_code == 503
    await serving
