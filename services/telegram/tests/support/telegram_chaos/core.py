"""The AI core as the service sees it: strict about what it is asked, quick, and away when it shall be.

Its answers follow from the questions, so a verdict knows them in advance.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

KEY = "sk-of-the-chaos"
MODEL = "chaos-model"
WORDS = [
    "Le",
    "contrat",
    "de",
    "travail",
    "dure",
    "aussi",
    "longtemps",
    "que",
    "les",
    "deux",
    "parties",
    "le",
    "veulent",
    ";",
]
LONG_PARAGRAPHS = 14
_FACTS = {
    "/readyz": {"status": "ok"},
    "/api/v1/models": {"models": [{"name": MODEL, "default": True, "kind": "generation"}]},
}
_REFUSALS = {
    "busy": (429, "queue_full", "retry-after: 1\r\n"),
    "unavailable": (503, "model_unavailable", ""),
}
PAUSE_SECONDS = 0.25


def answer_to(question: str) -> str:
    """What this core answers."""
    opening = f"Réponse à {' '.join(question.split()[:2])} :"
    if "longuement" not in question:
        return f"{opening} {' '.join(WORDS)} **oui**."
    return "\n\n".join([opening, *(f"{number}. {' '.join(WORDS * 6)}" for number in range(LONG_PARAGRAPHS))])


class Core:
    """Served on a port that it keeps."""

    def __init__(self, *, pause: float = PAUSE_SECONDS) -> None:
        """``pause``: seconds between two pieces of an answer."""
        self._pause = pause
        self.ailment = ""
        """``gone``, ``busy``, ``unavailable``, ``cut`` or ``error``; empty: it works."""
        self.complaints: list[str] = []
        """What a caller did wrong."""
        self.asked = 0
        self.connections = 0
        self._port = 0

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Core]:
        """Served from this event loop until the block ends."""
        serving: set[asyncio.Task[None]] = set()

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(asyncio.create_task(self._serve(reader, writer)))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in serving:
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
        for path, value in _FACTS.items():
            if line.startswith(f"GET {path} "):
                return await _send_json(writer, 200, value)
        if not line.startswith("POST /api/v1/chat "):
            self.complaints.append(f"an unknown call: {line}")
            return await _send_json(writer, 404, _error("not_found"))
        if self.ailment in _REFUSALS:
            status, code, more = _REFUSALS[self.ailment]
            return await _send_json(writer, status, _error(code), more)
        question = self._question(json.loads(body))
        return await self._stream(writer, answer_to(question))

    def _question(self, body: dict[str, Any]) -> str:
        self.asked += 1
        roles = [message["role"] for message in body["messages"]]
        expected = ["system", *["user", "assistant"] * (len(roles) // 2 - 1), "user"]
        if roles != expected or not all(message["content"] for message in body["messages"]):
            self.complaints.append(f"no conversation: {roles}")
        if body.get("stream") is not True or not 0 < body.get("max_tokens", 1) <= 4096:
            self.complaints.append("no stream, or a strange length")
        return str(body["messages"][-1]["content"])

    async def _stream(self, writer: asyncio.StreamWriter, answer: str) -> bool:
        """Whether it came to its end."""
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        step = max(20, len(answer) // 12)
        for at in range(0, len(answer), step):
            await _send_event(writer, {"delta": answer[at : at + step]})
            await asyncio.sleep(self._pause)
            if self.ailment in {"gone", "cut"}:
                return False
            if self.ailment == "error":
                await _send_event(writer, _error("generation_failed"), "error")
                return False
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "cached_prompt_tokens": 0}
        end = {"response": answer, "model": MODEL, "finish_reason": "stop", "usage": usage}
        await _send_event(writer, end)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes] | None:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    return line, headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def _send_json(writer: asyncio.StreamWriter, status: int, value: object, more: str = "") -> bool:
    content = json.dumps(value).encode()
    head = (
        f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n{more}"
    )
    writer.write(head.encode() + b"\r\n" + content)
    await writer.drain()
    return True


async def _send_event(writer: asyncio.StreamWriter, value: object, kind: str = "message") -> None:
    content = f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()
    writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
    await writer.drain()


def _error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "as planned"}}
