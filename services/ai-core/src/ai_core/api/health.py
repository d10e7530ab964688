"""The state of all parts. Degraded is not dead: only where nothing can be answered, health says so by 503."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ai_core.api.context import Answering, ApiContext
from ai_core.errors import StorageUnavailable
from ai_core.inference.served import ServedEngine

PING_SECONDS = 1.0
"""What does not answer within this time counts as away."""
_BROKEN = frozenset({"parked", "restarting"})
_OUT_OF_SERVICE = frozenset({"parked", "not_fetched"})


async def health_of(context: ApiContext, now: float) -> dict[str, Any]:
    """``status`` and all parts; ``now`` in seconds since 1970."""
    engines = {name: engine_facts(engine) for name, engine in context.engines.items()}
    stores = await store_facts(context)
    accepting = not context.inference.requests.closed
    return {
        "status": status_of(
            accepting=accepting,
            engines=[engine["state"] for engine in engines.values()],
            stores=[store["state"] for store in stores.values()],
        ),
        "version": context.version,
        "uptime_seconds": round(now - context.started_at, 1),
        "parts": {
            "api": {"accepting": accepting, "requests_open": context.inference.requests.count},
            "engines": engines,
            "stores": stores,
        },
    }


def status_of(*, accepting: bool, engines: list[str], stores: list[str]) -> str:
    """``ok``; ``degraded`` where something is missing; ``unavailable`` where no model can answer;
    ``shutting_down``."""
    if not accepting:
        return "shutting_down"
    if engines and _OUT_OF_SERVICE.issuperset(engines):
        return "unavailable"
    broken = _BROKEN.intersection(engines) or any(state != "ok" for state in stores)
    return "degraded" if broken else "ok"


def http_status(status: str) -> int:
    """200 as long as some request can be answered."""
    return 200 if status in {"ok", "degraded"} else 503


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


async def store_facts(context: ApiContext) -> dict[str, dict[str, Any]]:
    """Database and key-value stores, asked side by side."""
    stores: Mapping[str, Answering] = {"database": context.access.database} | dict(context.stores)
    found = await asyncio.gather(*(_ask(store) for store in stores.values()))
    return dict(zip(stores, found, strict=True))


async def _ask(store: Answering) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PING_SECONDS):
            seconds = await store.ping()
    except (StorageUnavailable, TimeoutError):
        return {"state": "unavailable", "latency_ms": None}
    return {"state": "ok", "latency_ms": round(seconds * 1000, 3)}
