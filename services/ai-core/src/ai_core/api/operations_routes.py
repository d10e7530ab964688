"""Routes for operators, probes and dashboards."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ai_core.access.caller import Scope
from ai_core.access.models import default_model_of, models_of
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
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
    async def health() -> dict[str, Any]:
        return health_facts(context, time.time())

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
        "dimensions": ready.dimensions or None if ready else None,
        "pooling": ready.pooling or None if ready else None,
        "description": ready.description if ready else None,
    }


def health_facts(context: ApiContext, now: float) -> dict[str, Any]:
    """``status``: ``ok``; ``degraded`` when a model cannot be served at present; ``shutting_down``."""
    closed = context.inference.requests.closed
    broken = any(engine.state in {"parked", "restarting"} for engine in context.engines.values())
    return {
        "status": "shutting_down" if closed else "degraded" if broken else "ok",
        "version": context.version,
        "uptime_seconds": round(now - context.started_at, 1),
        "parts": {
            "api": {"accepting": not closed, "requests_open": context.inference.requests.count},
            "engines": {name: engine_facts(engine) for name, engine in context.engines.items()},
        },
    }


def engine_facts(engine: ServedEngine) -> dict[str, Any]:
    """One engine's state and load."""
    stats = engine.stats
    return {
        "state": engine.state,
        "load_progress": round(engine.load_progress, 3),
        "backend": engine.ready.backend if engine.ready else None,
        "running": stats.running,
        "waiting": stats.waiting,
        "kv_cells": stats.kv_cells,
        "kv_cells_used": stats.kv_cells_used,
        "restarts": sum(engine.restarts.values()),
    }
