"""Routes for operators, probes and dashboards."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from ai_core.access.caller import Scope
from ai_core.api.context import ApiContext
from ai_core.api.health import health_of, http_status
from ai_core.api.route_access import needs, open_to_all


def operations_routes(context: ApiContext) -> APIRouter:
    """Health, probes and metrics."""
    router = APIRouter(tags=["operations"])

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
