"""Routes for operators, probes and dashboards."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from ai_core.access.caller import Scope
from ai_core.access.models import default_model_of, models_of
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
from ai_core.api.health import health_of, http_status
from ai_core.api.route_access import needs, open_to_all
from ai_core.catalog.models import ModelEntry
from ai_core.inference.served import ServedEngine


def operations_routes(context: ApiContext) -> APIRouter:
    """Models, health, probes and metrics."""
    router = APIRouter(tags=["operations"])
    catalog = context.inference.catalog

    @router.get("/api/v1/models", summary="All models and their state")
    @needs(Scope.MODELS_READ)
    async def models(request: Request) -> dict[str, Any]:
        caller = caller_of(request.scope)
        default = default_model_of(caller, catalog)
        return {
            "models": [
                model_facts(entry, context.engines[entry.name], default=entry is default)
                for entry in models_of(caller, catalog)
            ]
        }

    @router.get("/api/v1/health", summary="The state of all parts")
    @needs(None)
    async def health() -> Response:
        facts = await health_of(context, time.time())
        return JSONResponse(facts, http_status(facts["status"]), {"cache-control": "no-store"})

    @router.get("/livez", summary="Whether this process answers at all")
    @open_to_all
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", summary="Whether new requests are taken")
    @open_to_all
    async def readyz() -> dict[str, str]:
        context.inference.requests.refuse_if_closed()
        return {"status": "ready"}

    @router.get("/api/v1/metrics", summary="Metrics for Prometheus")
    @needs(Scope.METRICS)
    async def metrics() -> Response:
        return Response(generate_latest(context.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def model_facts(entry: ModelEntry, engine: ServedEngine, *, default: bool) -> dict[str, Any]:
    """One model for people and programs; what only a resident model knows is null until then."""
    ready = engine.ready
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "default": default,
        "type": "gguf",
        "kind": ready.kind if ready else None if entry.kind == "auto" else entry.kind,
        "state": engine.state,
        "load_progress": round(engine.load_progress, 3),
        "context_length": ready.context_length if ready else None,
        "max_sequences": ready.max_sequences if ready else None,
        "parameters": ready.parameters if ready else None,
        "has_chat_template": ready.has_chat_template if ready else None,
        "supports_tools": ready.supports_tools if ready else None,
        "supports_reasoning": ready.supports_reasoning if ready else None,
        "dimensions": ready.dimensions or None if ready else None,
        "pooling": ready.pooling or None if ready else None,
        "description": ready.description if ready else None,
    }
