"""Models leave the disk, for who has the scope ``models:write``."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from ai_core.access.caller import Scope
from ai_core.access.models import model_for
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
from ai_core.api.route_access import needs
from ai_core.catalog.removal import refuse_foreign, remove_model
from ai_core.errors import ModelBusy, NotConfigured
from servicekit.logging import get_logger

log = get_logger(__name__)

OUT_OF_MEMORY = frozenset({"stopped", "parked", "not_fetched"})


def removal_routes(context: ApiContext) -> APIRouter:
    """``DELETE /api/v1/models/{name}``."""
    router = APIRouter(tags=["operations"])

    @router.delete("/api/v1/models/{name:path}", summary="Delete a model's files")
    @needs(Scope.MODELS_WRITE)
    async def remove(request: Request, name: str) -> dict[str, Any]:
        caller = caller_of(request.scope)
        entry = model_for(caller, context.inference.catalog, name)
        if context.pulls is None:
            raise NotConfigured("This server serves no models from the hub.")
        refuse_foreign(entry)
        if context.engines[entry.name].state not in OUT_OF_MEMORY:
            raise ModelBusy(
                f"The model '{entry.name}' is in memory: send its name to /api/v1/models/unload first.",
                code="model_resident",
                parameter="name",
            )
        freed = await asyncio.to_thread(remove_model, entry, context.pulls.terms.models_dir)
        log.info("model removed", model=entry.name, by=caller.key_id)
        await context.pulls.changed()
        return {"name": entry.name, "was_here": freed is not None, "freed_bytes": freed or 0}

    return router
