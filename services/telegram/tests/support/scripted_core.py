"""An AI core that does as a test says: strict about what it is asked, and with every failure at hand."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "neo_of_the_scripted_core"
FIELDS = {"messages", "model", "adapter", "max_tokens", "temperature", "user", "stream"}


@dataclass(frozen=True)
class Answers:
    """Text in pieces; ``tokens`` is what it costs. ``gate`` holds back everything, ``pause`` each piece."""

    text: str
    pieces: int = 1
    pause: float = 0.0
    tokens: int = 10
    gate: asyncio.Event | None = None


@dataclass(frozen=True)
class Refuses:
    """With a status and a code."""

    status: int
    code: str = "overloaded"
    retry_after: float | None = None


@dataclass(frozen=True)
class BreaksOff:
    """Some text, and then the connection is gone."""

    text: str


@dataclass(frozen=True)
class Hangs:
    """Signs of life for ever, and no answer."""


Step = Answers | Refuses | BreaksOff | Hangs


@dataclass(frozen=True)
class Asked:
    """A request for an answer."""

    body: dict[str, Any]
    at: float

    @property
    def question(self) -> str:
        return str(self.body["messages"][-1]["content"])


@dataclass
class ScriptedCore:
    """Where it is, what it was asked, and what it does about a question; without a word it repeats it."""

    url: str = ""
    key: str = KEY
    models: list[str] = field(default_factory=lambda: ["small", "large"])
    script: dict[str, list[Step]] = field(default_factory=dict)
    """By question: what to do the next times; the last one for ever."""
    asked: list[Asked] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """What a caller did wrong."""

    def on(self, question: str, *steps: Step) -> None:
        """What to do about a question."""
        self.script[question] = list(steps)

    def times(self, question: str) -> list[float]:
        """When it was asked, in seconds."""
        return [asked.at for asked in self.asked if asked.question == question]

    async def chat(self, request: Request) -> Response:
        if request.headers.get("x-api-key") != self.key:
            self.complaints.append("no key")
            return _refusal(Refuses(401, "invalid_api_key"))
        body = await request.json()
        self._check(body)
        asked = Asked(body, time.monotonic())
        self.asked.append(asked)
        if body.get("model") not in {None, *self.models}:
            return _refusal(Refuses(404, "model_not_found"))
        steps = self.script.get(asked.question, [Answers(asked.question)])
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        if isinstance(step, Refuses):
            return _refusal(step)
        model = body.get("model") or self.models[0]
        return StreamingResponse(_stream(step, model), media_type="text/event-stream")

    async def list_models(self, _request: Request) -> Response:
        facts = [{"name": name, "default": at == 0} for at, name in enumerate(self.models)]
        return JSONResponse({"models": facts})

    async def ready(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def _check(self, body: dict[str, Any]) -> None:
        if unknown := body.keys() - FIELDS:
            self.complaints.append(f"unknown fields: {sorted(unknown)}")
        roles = [message["role"] for message in body["messages"]]
        if roles != ["system", *["user", "assistant"] * (len(roles) // 2 - 1), "user"]:
            self.complaints.append(f"no conversation: {roles}")
        if body.get("stream") is not True or not body.get("user"):
            self.complaints.append("not streamed, or for nobody")


async def _stream(step: Answers | BreaksOff | Hangs, model: str) -> AsyncIterator[bytes]:
    match step:
        case Hangs():
            while True:
                yield b": still here\n\n"
                await asyncio.sleep(0.2)
        case BreaksOff(text):
            yield _event({"delta": text})
            await asyncio.sleep(0.6)
            raise ConnectionAbortedError
        case Answers(text, pieces, pause, tokens, gate):
            if gate is not None:
                yield b": waiting\n\n"
                await gate.wait()
            for piece in _pieces(text, pieces):
                yield _event({"delta": piece})
                await asyncio.sleep(pause)
            usage = {"prompt_tokens": tokens // 2, "completion_tokens": tokens - tokens // 2}
            yield _event({"response": text, "model": model, "finish_reason": "stop", "usage": usage})


def _pieces(text: str, count: int) -> Sequence[str]:
    size = max(1, -(-len(text) // count))
    return [text[at : at + size] for at in range(0, len(text), size)]


def _event(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def _refusal(step: Refuses) -> Response:
    headers = {} if step.retry_after is None else {"retry-after": f"{step.retry_after:g}"}
    return JSONResponse({"error": {"code": step.code, "message": "as the test says"}}, step.status, headers)


@asynccontextmanager
async def scripted_core() -> AsyncIterator[ScriptedCore]:
    """Served from this event loop until the block ends, when nobody may have complained."""
    core = ScriptedCore()
    routes = [
        Route("/api/v1/chat", core.chat, methods=["POST"]),
        Route("/api/v1/models", core.list_models),
        Route("/readyz", core.ready),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), log_level="critical", lifespan="off", timeout_graceful_shutdown=0
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        core.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield core
        finally:
            server.should_exit = True
            await serving
    assert core.complaints == []
