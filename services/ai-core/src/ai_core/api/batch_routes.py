"""Many requests at once, answered when there is time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, StreamingResponse

from ai_core.api.batch_requests import MEDIA_TYPES, BatchLine, check_media_type, read_lines
from ai_core.api.context import ApiContext
from ai_core.api.errors import BodyTooSlow
from ai_core.api.exchange import caller_of, exchange_of
from ai_core.api.openapi import takes
from ai_core.api.route_access import needs
from ai_core.inference.batches.archive import Batch
from ai_core.storage.batches import LineState

BATCHES_PATH = "/api/v1/batches"
BODY_SECONDS = 300.0
MAX_LISTED = 100
_CHUNK_BYTES = 65_536

_TAKES = takes(BatchLine, MEDIA_TYPES[0])
_GIVES = {
    "responses": {
        "200": {
            "description": "One JSON object per line.",
            "content": {MEDIA_TYPES[0]: {"schema": {"type": "string"}}},
        }
    }
}


def batch_routes(context: ApiContext) -> APIRouter:
    """The routes under /api/v1/batches. Each key sees its own batches only."""
    router = APIRouter(prefix=BATCHES_PATH, tags=["batches"])
    batches, days = context.batches, context.batch_retention_days

    @router.post("", summary="Hand over many requests", status_code=201, openapi_extra=_TAKES)
    @needs(None)
    async def create(request: Request) -> JSONResponse:
        context.inference.requests.refuse_if_closed()
        check_media_type(request.headers.get("content-type"), request.headers.get("content-encoding"))
        caller = caller_of(request.scope)
        content = await _read(request)
        lines = await read_lines(content, caller, context.inference.catalog, context.max_body_bytes)
        batch = await batches.add(caller.key_id, lines)
        exchange_of(request.scope).facts |= {"batch": batch.record.id, "lines": len(lines)}
        return JSONResponse(batch_facts(batch, days), 201)

    @router.get("", summary="All batches of this key, the newest first")
    @needs(None)
    async def list_batches(request: Request) -> dict[str, Any]:
        found = await batches.list(caller_of(request.scope).key_id, MAX_LISTED)
        return {"batches": [batch_facts(batch, days) for batch in found]}

    @router.get("/{batch_id}", summary="One batch: its progress")
    @needs(None)
    async def show(request: Request, batch_id: str) -> dict[str, Any]:
        return batch_facts(await batches.get(caller_of(request.scope).key_id, batch_id), days)

    @router.get("/{batch_id}/results", summary="Its results so far, as JSON lines", openapi_extra=_GIVES)
    @needs(None)
    async def results(request: Request, batch_id: str) -> StreamingResponse:
        batch = await batches.get(caller_of(request.scope).key_id, batch_id)
        return StreamingResponse(_lines(batches.results(batch.record.id)), media_type=MEDIA_TYPES[0])

    @router.post("/{batch_id}/cancel", summary="End a batch; results that are there stay")
    @needs(None)
    async def cancel(request: Request, batch_id: str) -> dict[str, Any]:
        return batch_facts(await batches.cancel(caller_of(request.scope).key_id, batch_id), days)

    @router.delete("/{batch_id}", summary="Forget a batch, its requests and its results")
    @needs(None)
    async def delete(request: Request, batch_id: str) -> dict[str, Any]:
        await batches.delete(caller_of(request.scope).key_id, batch_id)
        return {"id": batch_id, "deleted": True}

    return router


async def _read(request: Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.body()
    except TimeoutError as error:
        raise BodyTooSlow(f"The body did not arrive within {BODY_SECONDS:.0f} seconds.") from error


async def _lines(results: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """In pieces that are worth sending."""
    chunk = bytearray()
    async for result in results:
        chunk += result + b"\n"
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def batch_facts(batch: Batch, retention_days: int) -> dict[str, Any]:
    """What its owner is told of a batch. ``progress``: 0 to 1."""
    record, counts = batch.record, batch.counts
    open_lines = counts[LineState.WAITING] + counts[LineState.RUNNING]
    ended = record.finished_at
    return {
        "id": record.id,
        "status": record.state.value,
        "request_counts": {
            "total": record.lines,
            "completed": counts[LineState.DONE],
            "failed": counts[LineState.FAILED],
            "cancelled": counts[LineState.CANCELLED],
            "running": counts[LineState.RUNNING],
            "waiting": counts[LineState.WAITING],
        },
        "progress": round((record.lines - open_lines) / record.lines, 4),
        "created_at": _iso(record.created_at),
        "started_at": _iso(record.started_at),
        "finished_at": _iso(ended),
        "expires_at": None if ended is None else _iso(ended + timedelta(days=retention_days)),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
