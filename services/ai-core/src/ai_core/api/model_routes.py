"""What models there are, everything about one of them, and the models file read again."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from ai_core.access.caller import Scope
from ai_core.access.models import default_model_of, model_for, models_of
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
from ai_core.api.route_access import needs
from ai_core.catalog.models import ModelEntry
from ai_core.catalog.plan import ModelPlan
from ai_core.engine.messages import Ready
from ai_core.inference.adapters import adapters_of
from ai_core.inference.served import ServedEngine
from servicekit.logging import get_logger

log = get_logger(__name__)


def model_routes(context: ApiContext) -> APIRouter:
    """``/api/v1/models`` and below. To be included after all narrower routes: names may hold slashes."""
    router = APIRouter()

    @router.get("/api/v1/models", summary="All models and their state", tags=["operations"])
    @needs(Scope.MODELS_READ)
    async def models(request: Request) -> dict[str, Any]:
        caller, catalog = caller_of(request.scope), context.inference.catalog
        default = default_model_of(caller, catalog)
        return {
            "models": [
                summary_of(context, entry, default=entry is default) for entry in models_of(caller, catalog)
            ]
        }

    @router.get("/api/v1/models/{name:path}", summary="Everything about one model", tags=["operations"])
    @needs(Scope.MODELS_READ)
    async def model(request: Request, name: str) -> dict[str, Any]:
        caller, catalog = caller_of(request.scope), context.inference.catalog
        entry = model_for(caller, catalog, name)
        default = entry is default_model_of(caller, catalog)
        facts = summary_of(context, entry, default=default)
        plan, engine = context.plans.get(entry.name), context.engines[entry.name]
        return facts | details_of(entry, plan, engine, private=caller.may(Scope.ADMIN))

    @router.post("/api/v1/admin/models/reload", summary="Read the models file again", tags=["administration"])
    @needs(Scope.ADMIN)
    async def reload(request: Request) -> dict[str, Any]:
        changes = await context.reload_models()
        log.info("models reloaded", by=caller_of(request.scope).key_id)
        return {name: list(names) for name, names in asdict(changes).items()}

    return router


def summary_of(context: ApiContext, entry: ModelEntry, *, default: bool) -> dict[str, Any]:
    """One model for people and programs."""
    engine, plan = context.engines[entry.name], context.plans.get(entry.name)
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "default": default,
        "type": entry.type,
        "engine": plan.decision.engine if plan else None,
        "engine_reason": plan.decision.reason if plan else None,
        "state": engine.state,
        "load_progress": round(engine.load_progress, 3),
        "adapters": adapters_of(entry, engine),
        **_use_of(context, entry),
    } | _facts_of_resident(entry, engine.ready)


def _use_of(context: ApiContext, entry: ModelEntry) -> dict[str, Any]:
    """What it holds here, and when it was last asked; null for a model that is computed elsewhere."""
    engine = None if context.fleet is None else context.fleet.engines.get(entry.name)
    if engine is None:
        return {"memory_bytes": None, "last_used_at": None}
    unused = engine.unused_seconds
    last = None if unused is None else datetime.fromtimestamp(time.time() - unused, UTC)
    return {
        "memory_bytes": engine.memory_bytes,
        "last_used_at": None if last is None else last.isoformat(timespec="seconds"),
    }


def _facts_of_resident(entry: ModelEntry, ready: Ready | None) -> dict[str, Any]:
    """What only a resident model knows is null until then, and what no server says of a remote one."""
    return {
        "kind": ready.kind if ready else None if entry.kind == "auto" else entry.kind,
        "context_length": ready.context_length or None if ready else None,
        "max_sequences": ready.max_sequences or None if ready else None,
        "parameters": ready.parameters or None if ready else None,
        "has_chat_template": ready.has_chat_template if ready else None,
        "supports_tools": ready.supports_tools if ready else None,
        "supports_reasoning": ready.supports_reasoning if ready else None,
        "dimensions": ready.dimensions or None if ready else None,
        "pooling": ready.pooling or None if ready else None,
        "description": ready.description if ready else None,
    }


def details_of(
    entry: ModelEntry, plan: ModelPlan | None, engine: ServedEngine, *, private: bool
) -> dict[str, Any]:
    """Everything else about it.

    Args:
        private: also what tells of the machine and the operator: paths, addresses, the system prompt.
    """
    ready, stats = engine.ready, engine.stats
    path = plan.path if plan and plan.path else entry.path
    return {
        "fallback": entry.fallback or None,
        "files": _files(plan),
        "repository": entry.hub.repository if entry.hub else None,
        "revision": entry.hub.revision if entry.hub else None,
        "path": str(path) if private and entry.type != "remote" else None,
        "upstream_url": entry.upstream.url if private and entry.upstream else None,
        "missing": list(ready.missing) if ready else None,
        "prefix": ready.prefix if ready else None,
        "load_seconds": round(ready.load_seconds, 3) if ready else None,
        "memory": {
            "resident_bytes": stats.resident_bytes,
            "weights_bytes": ready.weights_bytes if ready else None,
            "max_bytes": entry.max_memory or None,
        },
        "requests": {"running": stats.running, "waiting": stats.waiting},
        "settings": {
            "context_length": entry.context_length or None,
            "threads": entry.threads or None,
            "device": entry.device,
            "quantization": entry.quantization,
            "max_sequences": entry.max_sequences or None,
            "keep_alive": entry.keep_alive,
            "pinned": entry.pinned,
            "preload": entry.preload,
            "weight": entry.weight,
            "own_chat_template": entry.chat_template is not None,
            "trust_remote_code": entry.trust_remote_code,
        },
        "sampling": dict(entry.sampling),
        "system_prompt": entry.system_prompt or None if private else None,
    }


def _files(plan: ModelPlan | None) -> dict[str, Any] | None:
    if plan is None or plan.path is None:
        return None
    facts = plan.facts
    return {
        "format": facts.form,
        "architecture": facts.architecture or None,
        "quantization": facts.quantization or None,
        "trained_context": facts.trained_context or None,
        "size_bytes": facts.size,
        "problem": facts.problem or None,
    }
