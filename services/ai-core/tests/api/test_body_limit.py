"""Bodies that are larger than the server takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from access_keys import HEADER_LINE
from ai_core.api import json_body
from edge_server import Server, error_of

TEN_MEGABYTES = 10_000_000


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 10_000):
        yield b"x" * 10_000


@pytest.mark.parametrize("announced", [True, False])
async def test_ten_megabytes_are_a_413_that_the_client_gets_to_read(server: Server, announced: bool) -> None:
    content = b"x" * TEN_MEGABYTES if announced else chunks(TEN_MEGABYTES)
    response = await server.client.post(
        "/api/v1/chat", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    error = error_of(response)
    assert error["code"] == "body_too_large"
    assert "100000 bytes" in error["message"]
    assert (await server.client.get("/livez")).status_code == 200


async def test_a_body_of_exactly_the_limit_is_taken(echo_server: Server) -> None:
    start, end = b'{"prompt": "', b'"}'
    content = start + b"x" * (100_000 - len(start) - len(end)) + end
    assert (await echo_server.raw(content)).status_code == 200
    assert (await echo_server.raw(content + b" ")).status_code == 413


async def test_a_body_that_does_not_come_is_a_408(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "BODY_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST /api/v1/chat HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        + HEADER_LINE.encode()
        + b'Content-Length: 100\r\n\r\n{"prompt": '
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_who_asks_before_sending_need_not_send_a_body_that_is_too_large(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST /api/v1/chat HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        + HEADER_LINE.encode()
        + b"Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n"
    )
    assert await reader.readline() == b"HTTP/1.1 413 Request Entity Too Large\r\n"
    # The connection is closed: nobody knows whether the body comes after all.
    assert b"connection: close" in await reader.read()
    writer.close()
    await writer.wait_closed()
