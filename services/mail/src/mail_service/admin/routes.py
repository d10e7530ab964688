"""``/admin/…``: nothing opens without ADMIN_KEY."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mail_service.admin.office import Office

KEY_HEADER = "x-api-key"
MAX_LISTED = 1_000

Limit = Annotated[int, Query(ge=1, le=MAX_LISTED)]


class Person(BaseModel):
    """Whose data is meant: in the body, because URLs end in logs."""

    model_config = ConfigDict(extra="forbid")
    address: Annotated[str, Field(min_length=3, max_length=320)]


def admin_routes(office: Office, key: SecretStr | None) -> APIRouter:
    """The routes; without a key, each of them is refused."""

    router = APIRouter(prefix="/admin", dependencies=[Depends(_opened_by(key))])
    _shows(router, office)
    _orders(router, office)
    return router


def _opened_by(key: SecretStr | None) -> Callable[[Request], None]:
    expected = key.get_secret_value() if key is not None else ""

    def opened(request: Request) -> None:
        shown = request.headers.get(KEY_HEADER, "")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not shown and scheme.lower() == "bearer":
            shown = token.strip()
        if not expected or not hmac.compare_digest(shown.encode(), expected.encode()):
            raise HTTPException(403, "this needs ADMIN_KEY, in the header X-API-Key")

    return opened


def _shows(router: APIRouter, office: Office) -> None:
    @router.get("/counters")
    async def counters() -> dict[str, Any]:
        return await office.counters()

    @router.get("/queue")
    async def queue(limit: Limit = 100) -> list[dict[str, Any]]:
        return await office.queue(limit)

    @router.get("/dead-letters")
    async def dead_letters(limit: Limit = 100) -> list[dict[str, Any]]:
        return await office.dead_letters(limit)

    @router.get("/mails/{entry_id}")
    async def mail(entry_id: int) -> dict[str, Any]:
        found = await office.mail(entry_id)
        if found is None:
            raise HTTPException(404, "there is no mail of this number")
        return found

    @router.get("/mails/{entry_id}/letter")
    async def letter(entry_id: int) -> list[dict[str, Any]]:
        return await office.letter(entry_id)


def _orders(router: APIRouter, office: Office) -> None:
    @router.post("/dead-letters/{entry_id}/requeue")
    async def requeue(entry_id: int) -> dict[str, str]:
        return _done(await office.requeue(entry_id))

    @router.delete("/dead-letters/{entry_id}")
    async def drop(entry_id: int) -> dict[str, str]:
        return _done(await office.drop(entry_id))

    @router.post("/pause")
    async def pause() -> dict[str, str]:
        await office.pause()
        return {"status": "done"}

    @router.post("/resume")
    async def resume() -> dict[str, str]:
        await office.resume()
        return {"status": "done"}

    @router.post("/export")
    async def export(person: Person) -> Response:
        return Response(await office.export(person.address), media_type="application/json")

    @router.post("/forget")
    async def forget(person: Person) -> dict[str, int]:
        return {"deleted": await office.forget(person.address)}


def _done(found: bool) -> dict[str, str]:
    if not found:
        raise HTTPException(404, "there is no dead letter of this number")
    return {"status": "done"}
