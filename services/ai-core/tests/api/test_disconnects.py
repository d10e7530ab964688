"""A caller that leaves stops its own work at once, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from access_keys import HEADER_LINE
from ai_core.api import presence
from ai_core.api.event_stream import EventStream
from ai_core.api.exchange import Exchange
from edge_server import Server

if TYPE_CHECKING:
    from starlette.types import Message


class Caller:
    """A connection of its own, to be cut at any moment."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def of(cls, server: Server) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def post(self, path: str, body: dict[str, object], *, announced: int = 0) -> None:
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
            f"{HEADER_LINE}Content-Length: {announced or len(content)}\r\n\r\n"
        )
        self.writer.write(head.encode() + content)
        await self.writer.drain()

    async def leave(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.mark.parametrize("path", ["/api/v1/chat", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_sequence(server: Server, path: str, stream: bool) -> None:
    caller = await Caller.of(server)
    await caller.post(path, {"messages": [{"role": "user", "content": "Hello"}], "stream": stream})
    answer = await server.engine.next_answer()
    answer.say("one ")
    await caller.leave()
    await answer.cancelled.wait()
    await server.until_idle()
    assert await server.metric("neo_requests_total", status="499") == 1


async def test_a_client_that_leaves_before_the_engine_accepted_gives_up_its_place(
    server: Server,
) -> None:
    server.engine.accepting.clear()
    caller = await Caller.of(server)
    await caller.post("/api/v1/chat", {"prompt": "Hello"})
    await server.engine.arrived.wait()
    await caller.leave()
    await server.until_idle()
    assert server.engine.given_up == 1


async def test_a_client_that_leaves_disturbs_no_other_stream(server: Server) -> None:
    leaver, other = await Caller.of(server), await Caller.of(server)
    await leaver.post("/api/v1/chat", {"prompt": "leaver", "stream": True})
    left = await server.engine.next_answer()
    await other.post("/api/v1/chat", {"prompt": "other", "stream": True})
    kept = await server.engine.next_answer()
    await leaver.leave()
    await left.cancelled.wait()
    kept.say("all is well").finish()
    assert b"all is well" in await other.reader.readuntil(b"\r\n0\r\n\r\n")
    await other.leave()


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(server: Server) -> None:
    caller = await Caller.of(server)
    await caller.post("/api/v1/chat", {"prompt": "Hello"}, announced=1_000)
    await caller.leave()
    while await server.metric("neo_requests_total", status="499") == 0:
        pass
    assert not server.engine.requests


async def test_a_whole_answer_is_no_departure(server: Server) -> None:
    caller = await Caller.of(server)
    for _ in range(3):
        await caller.post("/api/v1/chat", {"prompt": "Hello", "stream": True})
        (await server.engine.next_answer()).say("one").finish()
        await caller.reader.readuntil(b"\r\n0\r\n\r\n")
    await caller.leave()
    assert await server.metric("neo_requests_total", status="200", route="/api/v1/chat") == 3
    assert await server.metric("neo_requests_total", status="499") == 0


async def test_silence_is_bridged_with_comments_that_proxies_see(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "CHECK_SECONDS", 0.01)
    caller = await Caller.of(server)
    await caller.post("/api/v1/chat", {"prompt": "Hello", "stream": True})
    answer = await server.engine.next_answer()
    await caller.reader.readuntil(b": still here\n\n")
    answer.say("one").finish()
    assert b'{"delta":"one"}' in await caller.reader.readuntil(b"\r\n0\r\n\r\n")
    await caller.leave()


class SlowReader:
    """An ASGI server whose client is there but takes nothing; ``receive`` never says that it left."""

    def __init__(self) -> None:
        self.blocked = asyncio.Event()

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.blocked.set()
            await asyncio.Event().wait()


async def test_a_client_that_stops_reading_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "CHECK_SECONDS", 0.001)
    now = 0.0
    client = SlowReader()
    stream = EventStream(client.send, Exchange("1"), clock=lambda: now)

    async def answer() -> None:
        async with presence.while_client_stays(client.receive, stream):
            await stream.start()
            await stream.write(b"data: {}\n\n")

    answering = asyncio.create_task(answer())
    await client.blocked.wait()
    now = 59.0
    await asyncio.sleep(0.01)
    assert not answering.done()
    now = 61.0
    with pytest.raises(presence.ClientLeft):
        await answering


async def test_a_time_out_of_the_work_itself_stays_what_it_is() -> None:
    client = SlowReader()
    with pytest.raises(TimeoutError):
        async with presence.while_client_stays(client.receive, EventStream(client.send, Exchange("1"))):
            raise TimeoutError
