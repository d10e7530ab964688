"""A server with OpenAI's API on a real socket, strict with who asks and as ill-behaved as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

KEY = "upstream-secret-key"
MODEL = "their-model"
OPENAI_FIELDS = {
    "model",
    "messages",
    "prompt",
    "input",
    "encoding_format",
    "dimensions",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
}


@dataclass
class Asked:
    """One request, read to its end, and the connection on which it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def reply(self, status: int, content: object, **headers: str) -> None:
        """A whole answer; ``content`` is JSON unless it is bytes."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{named}content-length: {len(data)}"
        await self.write(head.encode() + b"\r\n\r\n" + data)

    async def stream(self, *events: object, kind: str = "text/event-stream") -> None:
        """Begin a stream, with these events."""
        await self.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode())
        for event in events:
            await self.event(event)

    async def event(self, event: object) -> None:
        data = event if isinstance(event, str) else json.dumps(event)
        await self.write(f"data: {data}\n\n".encode())

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_left(self) -> None:
        """Returns when the other side has hung up."""
        while await self.reader.read(1 << 16):
            pass


Script = Callable[[Asked], Awaitable[None]]


def text(*pieces: str) -> list[dict[str, Any]]:
    return [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]


def end(reason: str = "stop", **usage: Any) -> list[object]:
    """The last events of a good answer."""
    counted = [{"choices": [], "usage": usage}] if usage else []
    return [{"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}, *counted, "[DONE]"]


def answering(*events: object) -> Script:
    async def script(asked: Asked) -> None:
        await asked.stream(*events)

    return script


def refusing(status: int, content: object = None, **headers: str) -> Script:
    async def script(asked: Asked) -> None:
        await asked.reply(status, content or {"error": {"message": "no"}}, **headers)

    return script


async def hang_up(asked: Asked) -> None:
    """Close the connection without a word."""
    asked.writer.transport.abort()


@dataclass
class UpstreamServer:
    """What it was asked, and how it behaves: each request takes the next script, the last one stays."""

    url: str = ""
    owner: str = "somebody"
    about: dict[str, Any] = field(default_factory=dict)
    """Further fields of the model in the list."""
    listing: Script | None = None
    scripts: list[Script] = field(default_factory=lambda: [answering(*text("Bon", "jour"), *end())])
    asked: list[Asked] = field(default_factory=list)
    looked: int = 0
    """How often the list of models was asked for."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def does(self, *scripts: Script) -> None:
        self.scripts = list(scripts)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (asked := await _read(reader, writer)) is not None:
                await self._answer(asked)
                if writer.is_closing() or asked.path != "/v1/models":
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(self, asked: Asked) -> None:
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        if asked.path == "/v1/models":
            self.looked += 1
            one = {"id": MODEL, "object": "model", "owned_by": self.owner, **self.about}
            usual = refusing(200, {"object": "list", "data": [one]})
            await (self.listing or usual)(asked)
            return
        assert asked.method == "POST"
        self.asked.append(asked)
        self.arrived.set()
        await (self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0])(asked)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, json.loads(content) if content else {}, reader, writer)


@asynccontextmanager
async def upstream_server() -> AsyncIterator[UpstreamServer]:
    upstream = UpstreamServer()
    server = await asyncio.start_server(upstream.handle, "127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield upstream
    finally:
        server.close()
        await server.wait_closed()
