"""Keys over HTTP, for who has the scope ``admin``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from ai_core.access.administration import IssuedKey, state_of, utc_now
from ai_core.access.caller import PriorityClass, Scope
from ai_core.api.admin_requests import KeyBody, RotationBody
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
from ai_core.api.json_body import read_body
from ai_core.api.openapi import takes
from ai_core.api.route_access import needs
from ai_core.storage.keys import KeyRecord
from servicekit.logging import get_logger

log = get_logger(__name__)


def admin_routes(context: ApiContext) -> APIRouter:
    """The routes under /api/v1/admin."""
    router = APIRouter(prefix="/api/v1/admin/keys", tags=["administration"])
    keys = context.access.keys

    @router.post("", summary="Make a key", status_code=201, openapi_extra=takes(KeyBody))
    @needs(Scope.ADMIN)
    async def create(request: Request) -> JSONResponse:
        body = await read_body(request, KeyBody)
        issued = await keys.create(body.to_wish(context.access.default_per_minute))
        _log("key created", request, issued.record)
        return _secret(issued, 201)

    @router.get("", summary="All keys")
    @needs(Scope.ADMIN)
    async def list_keys() -> dict[str, Any]:
        now = utc_now()
        return {"keys": [key_facts(record, now) for record in await keys.all()]}

    @router.get("/{key_id}", summary="One key")
    @needs(Scope.ADMIN)
    async def show(key_id: str) -> dict[str, Any]:
        return key_facts(await keys.get(key_id), utc_now())

    @router.post("/{key_id}/rotate", summary="Give a key a new secret", openapi_extra=takes(RotationBody))
    @needs(Scope.ADMIN)
    async def rotate(request: Request, key_id: str) -> JSONResponse:
        body = await read_body(request, RotationBody)
        issued = await keys.rotate(key_id, body.grace)
        _log("key rotated", request, issued.record)
        return _secret(issued, 200)

    @router.delete("/{key_id}", summary="Revoke a key")
    @needs(Scope.ADMIN)
    async def revoke(request: Request, key_id: str) -> dict[str, Any]:
        record = await keys.revoke(key_id)
        _log("key revoked", request, record)
        return key_facts(record, utc_now())

    return router


def _log(event: str, request: Request, record: KeyRecord) -> None:
    log.info(event, about=record.id, by=caller_of(request.scope).key_id)


def _secret(issued: IssuedKey, status: int) -> JSONResponse:
    facts = {"key": str(issued.key)} | key_facts(issued.record, utc_now())
    return JSONResponse(facts, status, headers={"cache-control": "no-store"})


def key_facts(record: KeyRecord, now: datetime) -> dict[str, Any]:
    """What is told about a key: everything but its secret."""
    return {
        "id": record.id,
        "name": record.name,
        "state": state_of(record, now),
        "scopes": list(record.scopes),
        "requests_per_minute": record.requests_per_minute,
        "tokens_per_minute": record.tokens_per_minute,
        "tokens_per_day": record.tokens_per_day,
        "concurrent_requests": record.concurrent_requests,
        "allowed_models": list(record.allowed_models),
        "default_model": record.default_model,
        "networks": list(record.networks),
        "priority": PriorityClass(record.priority).name.lower(),
        "fair_by_user": record.fair_by_user,
        "created_at": _iso(record.created_at),
        "rotated_at": _iso(record.rotated_at),
        "expires_at": _iso(record.expires_at),
        "revoked_at": _iso(record.revoked_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
