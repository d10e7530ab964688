"""Bytes that are hardly HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ai_core.api.protocol import MAX_HEAD_BYTES
from edge_server import Server, checked_error


async def answer_to(server: Server, content: bytes) -> tuple[bytes, dict[str, Any]]:
    """The head and the error in what comes back until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(content)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head, checked_error(json.loads(body))


NO_HTTP = [
    b"\x16\x03\x01 a TLS hello\r\n\r\n",
    b"GET\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
]


@pytest.mark.parametrize("content", NO_HTTP)
async def test_what_is_no_http_is_a_400_in_the_same_shape(server: Server, content: bytes) -> None:
    head, error = await answer_to(server, content)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert error["code"] == "invalid_http"


async def test_an_endless_head_is_cut_off(server: Server) -> None:
    start = b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Padding: "
    head, error = await answer_to(server, start.ljust(MAX_HEAD_BYTES + 1, b"x"))
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "head of the request" in error["message"]


async def test_many_requests_on_one_connection_have_a_fresh_head_each(server: Server) -> None:
    padding = {"x-padding": "x" * (MAX_HEAD_BYTES // 4)}
    for _ in range(8):
        assert (await server.client.get("/livez", headers=padding)).status_code == 200
