"""An AI core as a service sees it: strict about who asks, quick, and away when it shall be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

KEY = "sk-of-the-chaos"
MODEL = "chaos-model"
FACTS = {
    "/readyz": {"status": "ok"},
    "/api/v1/models": {"models": [{"name": MODEL, "default": True, "kind": "generation"}]},
}
REFUSALS = {
    "busy": (429, "queue_full", "retry-after: 1\r\n"),
    "unavailable": (503, "model_unavailable", ""),
}


class AilingCore(ABC):
    """Served on a port that it keeps."""

    path: str
    """Where it is asked."""

    def __init__(self) -> None:
        self.ailment = ""
        """``gone``, ``busy``, ``unavailable``, ``cut`` or ``error``; empty: it works."""
        self.complaints: list[str] = []
        """What a caller did wrong."""
        self.asked = 0
        self.connections = 0
        self._port = 0

    @abstractmethod
    async def generate(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        """Answer what was asked; whether the connection may be used again."""

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """Served from this event loop until the block ends."""
        serving: set[asyncio.Task[None]] = set()

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(reader, writer))
            serving.add(task)
            task.add_done_callback(serving.discard)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1_000)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(serving):
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while self.ailment != "gone" and (request := await _read(reader)) is not None:
                    if not await self._answer(writer, *request):
                        break
        finally:
            writer.transport.abort()

    async def _answer(
        self, writer: asyncio.StreamWriter, line: str, headers: dict[str, str], body: bytes
    ) -> bool:
        """Whether the connection may be used again."""
        if headers.get("x-api-key") != KEY:
            self.complaints.append("a call without the key")
        if self.ailment == "gone":
            return False
        for path, value in FACTS.items():
            if line.startswith(f"GET {path} "):
                return await send_json(writer, 200, value)
        if not line.startswith(f"POST {self.path} "):
            self.complaints.append(f"an unknown call: {line}")
            return await send_json(writer, 404, error("not_found"))
        if self.ailment in REFUSALS:
            status, code, more = REFUSALS[self.ailment]
            return await send_json(writer, status, error(code), more)
        self.asked += 1
        return await self.generate(writer, json.loads(body))


async def begin_stream(writer: asyncio.StreamWriter) -> None:
    """The head of an answer in events."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    await writer.drain()


async def send_event(writer: asyncio.StreamWriter, value: object, kind: str = "message") -> None:
    """One event."""
    content = f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()
    writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
    await writer.drain()


async def end_stream(writer: asyncio.StreamWriter, whole: dict[str, Any]) -> None:
    """The last event, and the end."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cached_prompt_tokens": 0}
    await send_event(writer, {"model": MODEL, "finish_reason": "stop", "usage": usage} | whole)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def send_json(writer: asyncio.StreamWriter, status: int, value: object, more: str = "") -> bool:
    """A whole answer; ``more`` are lines of its head. True: the connection may be used again."""
    content = json.dumps(value).encode()
    head = (
        f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n{more}"
    )
    writer.write(head.encode() + b"\r\n" + content)
    await writer.drain()
    return True


def error(code: str) -> dict[str, Any]:
    """As the AI core's errors look."""
    return {"error": {"code": code, "message": "as planned"}}


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes] | None:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    return line, headers, await reader.readexactly(int(headers.get("content-length", 0)))
