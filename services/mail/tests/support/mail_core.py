"""An AI core that says what a test wants: ``/api/v1/generate`` and ``/readyz``, over a real socket.

It stands for a model that obeys whoever writes to it, is slow, or fails; the real one has tests of its own.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

MODEL = "scripted"


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer other than 200."""

    status: int
    code: str = "overloaded"
    retry_after: float | None = None


Says = str | Failure
Script = Callable[[dict[str, Any]], Says]


@dataclass
class ScriptedCore:
    """What it says is decided by ``script``, from the body of each request."""

    url: str
    script: Script = lambda body: "Voici la réponse."
    asked: list[dict[str, Any]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers wait until it is set; it is, at the beginning."""

    def mail(self, number: int = -1) -> str:
        """The prompt of a request."""
        return str(self.asked[number]["prompt"])


def _answer(core: ScriptedCore, body: dict[str, Any]) -> Response:
    said = core.script(body)
    if isinstance(said, Failure):
        headers = {} if said.retry_after is None else {"retry-after": str(said.retry_after)}
        return JSONResponse({"error": {"code": said.code, "message": said.code}}, said.status, headers)
    mail = body.get("email_context", {})
    whole = {
        "response": said,
        "model": MODEL,
        "finish_reason": "stop",
        "suggested_subject": f"Re: {mail['subject']}" if mail.get("subject") else "Une question",
    }
    return Response(f"data: {json.dumps(whole)}\n\n", media_type="text/event-stream")


@asynccontextmanager
async def scripted_core(script: Script | None = None) -> AsyncIterator[ScriptedCore]:
    """Served from this event loop until the block ends."""
    app = FastAPI()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        core = ScriptedCore(f"http://127.0.0.1:{listener.getsockname()[1]}")
        core.script = script or core.script
        core.gate.set()

        @app.get("/readyz")
        async def ready() -> dict[str, str]:
            return {"status": "ok"}

        @app.post("/api/v1/generate")
        async def generate(request: Request) -> Response:
            body = await request.json()
            core.asked.append(body)
            await core.gate.wait()
            return _answer(core, body)

        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield core
        finally:
            core.gate.set()
            server.should_exit = True
            await serving
