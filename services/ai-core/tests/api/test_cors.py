"""Web pages of other origins."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from edge_server import FakeEngine, Server, echo, error_of, running_server

PAGE = "https://app.example.org"
STRANGER = "https://evil.example"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running_server(
        FakeEngine(script=echo), cors_origins=(PAGE, "http://localhost:3000")
    ) as server:
        yield server


async def preflight(server: Server, **headers: str) -> httpx.Response:
    chosen = PREFLIGHT | {name.replace("_", "-"): value for name, value in headers.items()}
    return await server.anonymous.options("/v1/chat/completions", headers=chosen)


async def test_a_listed_page_may_ask_without_a_key_what_it_may_do(server: Server) -> None:
    response = await preflight(server)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == PAGE
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "authorization" in response.headers["access-control-allow-headers"]
    assert "origin" in response.headers["vary"].lower()


async def test_no_answer_lets_cookies_or_every_page_in(server: Server) -> None:
    responses = [
        await preflight(server),
        await preflight(server, origin=STRANGER),
        await server.client.post("/api/v1/chat", json={"prompt": "a"}, headers={"origin": PAGE}),
        await server.client.post("/api/v1/chat", json={"prompt": "a"}, headers={"origin": STRANGER}),
    ]
    for response in responses:
        assert "access-control-allow-credentials" not in response.headers
        assert response.headers.get("access-control-allow-origin") != "*"


async def test_an_unlisted_page_is_told_no(server: Server) -> None:
    response = await preflight(server, origin=STRANGER)
    assert (response.status_code, error_of(response)["code"]) == (400, "origin_not_allowed")
    assert "access-control-allow-origin" not in response.headers


async def test_a_listed_page_reads_answers_errors_and_headers(server: Server) -> None:
    good = await server.client.post("/api/v1/chat", json={"prompt": "a"}, headers={"origin": PAGE})
    bad = await server.anonymous.post("/api/v1/chat", json={"prompt": "a"}, headers={"origin": PAGE})
    assert (good.status_code, bad.status_code) == (200, 401)
    for response in (good, bad):
        assert response.headers["access-control-allow-origin"] == PAGE
        assert "x-request-id" in response.headers["access-control-expose-headers"].lower()


async def test_an_unlisted_page_cannot_read_what_it_gets(server: Server) -> None:
    response = await server.client.post("/api/v1/chat", json={"prompt": "a"}, headers={"origin": STRANGER})
    assert "access-control-allow-origin" not in response.headers


async def test_streams_pass_through_piece_by_piece(server: Server) -> None:
    server.engine.script = None
    body = {"prompt": "a", "stream": True}
    async with server.client.stream("POST", "/api/v1/chat", json=body, headers={"origin": PAGE}) as response:
        answer = await server.engine.next_answer()
        lines = response.aiter_lines()
        answer.say("first")
        assert "first" in await anext(lines)
        answer.finish()
    assert response.headers["access-control-allow-origin"] == PAGE


async def test_a_preflight_of_a_page_opens_nothing_else(server: Server) -> None:
    """OPTIONS without a browser's question is a request like any other."""
    assert (await server.anonymous.options("/api/v1/chat")).status_code == 401


async def test_nothing_of_this_is_there_unless_it_is_switched_on() -> None:
    async with running_server(FakeEngine(script=echo)) as server:
        assert (await preflight(server)).status_code == 401
        response = await server.client.post("/api/v1/chat", json={"prompt": "a"}, headers={"origin": PAGE})
        assert "access-control-allow-origin" not in response.headers
