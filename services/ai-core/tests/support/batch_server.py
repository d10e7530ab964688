"""The edge with batches that are answered, over an engine that does what a test tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from access_keys import KEY
from ai_core.access.known_keys import KnownKeys
from ai_core.api.batch_routes import batch_facts
from ai_core.api.batch_work import performing
from ai_core.inference.batches.metrics import BatchMetrics
from ai_core.inference.batches.runner import BatchRunner, Pace
from ai_core.inference.service import Limits
from ai_core.storage.batches import BatchRepository
from ai_core.storage.keys import KeyRepository
from edge_server import FakeEngine, Server, echo, running_server

JSONL = {"content-type": "application/jsonl"}
PACE = Pace(at_once=2, renew_every=0.05, look_every=0.05)
LIMITS = Limits(max_sequences=2, max_queued=2, request_timeout=30, drain_timeout=30)


def chat(custom_id: str, prompt: str = "Bonjour", **options: Any) -> dict[str, Any]:
    """A line of a batch."""
    return {"custom_id": custom_id, "url": "/api/v1/chat", "body": {"prompt": prompt, **options}}


def jsonl(lines: Iterable[Any]) -> bytes:
    return "\n".join(json.dumps(line) for line in lines).encode()


@dataclass
class BatchServer:
    """A running server whose batches are answered."""

    server: Server
    runner: BatchRunner

    async def post(self, content: bytes | list[dict[str, Any]], key: str | None = None) -> httpx.Response:
        body = content if isinstance(content, bytes) else jsonl(content)
        headers = JSONL if key is None else JSONL | {"x-api-key": key}
        return await self.server.client.post("/api/v1/batches", content=body, headers=headers)

    async def make(self, lines: list[dict[str, Any]], key: str | None = None) -> str:
        """The id of a new batch."""
        response = await self.post(lines, key)
        assert response.status_code == 201, response.text
        id: str = response.json()["id"]  # noqa: A001
        return id

    async def get(self, path: str, key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"x-api-key": key}
        return await self.server.client.get(f"/api/v1/batches/{path}", headers=headers)

    async def results(self, batch: str) -> list[dict[str, Any]]:
        response = await self.get(f"{batch}/results")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("application/jsonl")
        return [json.loads(line) for line in response.text.splitlines()]

    async def wait_for(
        self, batch: str, condition: Callable[[dict[str, Any]], bool], key_id: str = KEY.id
    ) -> dict[str, Any]:
        """The batch, as soon as it is as described."""
        while True:
            facts = batch_facts(await self.server.context.batches.get(key_id, batch), retention_days=30)
            if condition(facts):
                return facts
            await asyncio.sleep(0.01)

    async def ended(self, batch: str, key_id: str = KEY.id) -> dict[str, Any]:
        """The batch, when it is over."""
        return await self.wait_for(batch, lambda facts: facts["status"] != "in_progress", key_id)


def runner_of(server: Server, pace: Pace = PACE) -> BatchRunner:
    """What answers the batches of a server."""
    context = server.context
    database = context.access.database
    return BatchRunner(
        BatchRepository(database),
        context.batches,
        KnownKeys(KeyRepository(database)),
        performing(server.application),
        # Each runner of a test is like a process of its own.
        BatchMetrics(CollectorRegistry()),
        pace,
    )


@asynccontextmanager
async def batch_server(
    address: str | None, *, echoes: bool = False, **more: Any
) -> AsyncIterator[BatchServer]:
    """``address``: of an empty database; None: a fresh SQLite file."""
    engine = FakeEngine(script=echo if echoes else None)
    async with running_server(engine, LIMITS, address, **more) as server:
        runner = runner_of(server)
        async with runner.running():
            yield BatchServer(server, runner)
