"""LoRA adapters of models: listed, loaded and unloaded while requests run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from ai_core.access.caller import Scope
from ai_core.access.models import model_for
from ai_core.api.adapter_requests import AdapterBody
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
from ai_core.api.json_body import read_body
from ai_core.api.openapi import takes
from ai_core.api.route_access import needs
from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import AdapterFile
from ai_core.engine_client.port import Adaptable
from ai_core.errors import InvalidRequest
from servicekit.logging import get_logger

log = get_logger(__name__)


def adapter_routes(context: ApiContext) -> APIRouter:
    """``/api/v1/models/{name}/adapters``."""
    router = APIRouter(prefix="/api/v1/models/{name}/adapters", tags=["operations"])

    def entry_of(request: Request, name: str) -> ModelEntry:
        return model_for(caller_of(request.scope), context.inference.catalog, name)

    def adaptable(entry: ModelEntry) -> Adaptable:
        engine = context.engines[entry.name]
        if not isinstance(engine, Adaptable):
            message = f"The model '{entry.name}' is not computed on this machine: it takes no adapters here."
            raise InvalidRequest(message, code="model_not_capable", parameter="model")
        return engine

    @router.get("", summary="A model's LoRA adapters")
    @needs(Scope.MODELS_READ)
    async def adapters(request: Request, name: str) -> dict[str, Any]:
        engine = context.engines[entry_of(request, name).name]
        files = engine.adapters if isinstance(engine, Adaptable) else ()
        return {"adapters": [adapter_facts(file) for file in files]}

    @router.post("", summary="Load a LoRA adapter", status_code=201, openapi_extra=takes(AdapterBody))
    @needs(Scope.MODELS_WRITE)
    async def load(request: Request, name: str) -> JSONResponse:
        entry = entry_of(request, name)
        body = await read_body(request, AdapterBody)
        file = await asyncio.to_thread(body.file, context.adapter_folders)
        await adaptable(entry).load_adapter(file)
        log.info("adapter loaded", model=entry.name, adapter=file.name, by=caller_of(request.scope).key_id)
        return JSONResponse(adapter_facts(file), 201)

    @router.delete("/{adapter}", summary="Unload a LoRA adapter")
    @needs(Scope.MODELS_WRITE)
    async def unload(request: Request, name: str, adapter: str) -> dict[str, Any]:
        entry = entry_of(request, name)
        engine = adaptable(entry)
        await engine.unload_adapter(adapter)
        log.info("adapter unloaded", model=entry.name, adapter=adapter, by=caller_of(request.scope).key_id)
        return {"adapters": [adapter_facts(file) for file in engine.adapters]}

    return router


def adapter_facts(file: AdapterFile) -> dict[str, Any]:
    """What is told about an adapter; not where it lies."""
    return {
        "name": file.name,
        "format": "gguf" if Path(file.path).suffix.lower() == ".gguf" else "peft",
        "scale": file.scale,
    }
