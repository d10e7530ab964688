"""A strict server for transcriptions, on a real socket: it takes OpenAI's form and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edge_server import listening

KEY = "upstream-secret-key"
MODEL = "whisper-large-v3"
TEXT = "Bonjour, j'ai une question sur mon préavis."
ALLOWED = {"model", "response_format", "language", "prompt", "temperature", "timestamp_granularities[]"}


@dataclass
class UpstreamServer:
    """What it was sent, and how it behaves. ``answer`` replaces its usual answer."""

    url: str = ""
    forms: list[dict[str, Any]] = field(default_factory=list)
    audio: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    answer: Callable[[], Awaitable[Response]] | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: Request) -> Response:
        self.arrived.set()
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert "content-length" in request.headers
        async with request.form() as form:
            file = form["file"]
            assert isinstance(file, UploadFile)
            fields = [(name, value) for name, value in form.multi_items() if name != "file"]
            assert {name for name, _ in fields} <= ALLOWED
            assert form["model"] == MODEL
            self.forms.append({name: [v for n, v in fields if n == name] for name, _ in fields})
            self.names.append(file.filename)
            self.audio.append(await file.read())
        if self.answer is not None:
            try:
                return await self.answer()
            except asyncio.CancelledError:
                self.left.set()
                raise
        return usual_answer(self.forms[-1]["response_format"][0])


def usual_answer(format: str) -> Response:
    match format:
        case "json":
            return JSONResponse({"text": TEXT})
        case "verbose_json":
            return JSONResponse({"text": TEXT, "language": "french", "duration": 3.2, "segments": []})
        case "srt":
            return PlainTextResponse(f"1\n00:00:00,000 --> 00:00:03,200\n{TEXT}\n")
        case _:
            return PlainTextResponse(TEXT)


@asynccontextmanager
async def upstream_server() -> AsyncIterator[UpstreamServer]:
    server = UpstreamServer()
    app = Starlette(routes=[Route("/v1/audio/transcriptions", server.handle, methods=["POST"])])
    async with listening(app) as port:
        server.url = f"http://127.0.0.1:{port}/v1"
        yield server
