"""The description of the API, for programs and for people's browsers."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.responses import JSONResponse

from ai_core.api.route_access import needs


def description_routes(app: FastAPI) -> APIRouter:
    """The OpenAPI file of an application."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    @needs(None, browser=True)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    return router
