"""Routes that put models into memory and out of it, for who has the scope ``models:write``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from ai_core.access.caller import Scope
from ai_core.access.models import model_for
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of, exchange_of
from ai_core.api.json_body import read_body
from ai_core.api.openapi import takes
from ai_core.api.residency_requests import LoadBody, UnloadBody
from ai_core.api.route_access import needs
from ai_core.errors import InvalidRequest
from ai_core.residency.fleet import Fleet
from ai_core.residency.fleet_engine import FleetEngine
from servicekit.logging import get_logger

log = get_logger(__name__)


def residency_routes(context: ApiContext) -> APIRouter:
    """``POST /api/v1/models/load`` and ``/unload``. Both may be repeated at will."""
    router = APIRouter(prefix="/api/v1/models", tags=["operations"])

    def found(request: Request, name: str | None) -> tuple[Fleet, FleetEngine]:
        entry = model_for(caller_of(request.scope), context.inference.catalog, name)
        engine = None if context.fleet is None else context.fleet.engines.get(entry.name)
        if context.fleet is None or engine is None:
            raise InvalidRequest(
                f"The model '{entry.name}' is not computed on this machine: there is nothing to load here.",
                parameter="model",
            )
        return context.fleet, engine

    def patience(request: Request) -> float:
        timeout = exchange_of(request.scope).timeout
        return context.request_timeout if timeout is None else timeout

    @router.post("/load", summary="Put a model into memory", openapi_extra=takes(LoadBody))
    @needs(Scope.MODELS_WRITE)
    async def load(request: Request) -> JSONResponse:
        body = await read_body(request, LoadBody)
        _, engine = found(request, body.model)
        if body.wait is False:
            engine.start()
            engine.keep(body.keep_alive)
        else:
            with engine.visit(body.keep_alive):
                await engine.load(patience(request))
        log.info("load asked", model=engine.entry.name, by=caller_of(request.scope).key_id)
        return JSONResponse(residency_facts(engine))

    @router.post("/unload", summary="Put a model out of memory", openapi_extra=takes(UnloadBody))
    @needs(Scope.MODELS_WRITE)
    async def unload(request: Request) -> JSONResponse:
        body = await read_body(request, UnloadBody)
        fleet, engine = found(request, body.model)
        await fleet.unload(engine.entry.name, patience(request), force=bool(body.force))
        log.info("unload asked", model=engine.entry.name, by=caller_of(request.scope).key_id)
        return JSONResponse(residency_facts(engine))

    return router


def residency_facts(engine: FleetEngine) -> dict[str, Any]:
    """How a model stands in memory. Bytes; seconds."""
    keep_alive = engine.keep_alive
    return {
        "model": engine.entry.name,
        "state": engine.state,
        "load_progress": round(engine.load_progress, 3),
        "memory_bytes": engine.memory_bytes,
        "requests": engine.users,
        "pinned": engine.entry.pinned,
        "keep_alive": None if keep_alive < 0 else keep_alive,
        "resting": engine.footprint.resting,
        "load_seconds": round(engine.load_seconds, 3) if engine.ready else None,
    }
