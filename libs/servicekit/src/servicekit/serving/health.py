"""How a service tells others how it is: /livez, /readyz, /health, and a place for /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

CHECK_SECONDS = 5.0
"""A dependency that does not answer within this time counts as down."""
KEPT_SECONDS = 1.0
"""So long a report is given again: whoever asks often must not become a burden to what is checked."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Check = Callable[[], Awaitable[float]]
"""Seconds that a dependency took to answer. Raises whatever it raises when it is away."""
Render = Callable[[], Awaitable[bytes]]
"""The metrics, in Prometheus' text format."""


@dataclass(frozen=True, slots=True)
class Report:
    """How some dependencies are: by name, ``status``, and ``latency_ms`` or ``reason``."""

    parts: Mapping[str, Mapping[str, Any]]

    @property
    def down(self) -> frozenset[str]:
        """Those that are away."""
        return frozenset(name for name, part in self.parts.items() if part["status"] != "ok")


class Health:
    """Named checks.

    Args:
        checks: by the name under which /health shows them.
        essential: those without which nothing can be done: only they make the service unready. Without one of
            the others it does what it can and says ``degraded``, because a probe that takes the service away
            would help nobody.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        essential: Collection[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._essential = frozenset(essential)
        needed = {name: check for name, check in checks.items() if name in self._essential}
        self._needed, self._all = _Round(needed, clock), _Round(checks, clock)

    async def ready(self) -> Response:
        """200 if what is essential is there, else 503; nothing else is asked."""
        return self._response(await self._needed.report())

    async def everything(self) -> Response:
        """Each dependency; 503 only without an essential one."""
        return self._response(await self._all.report())

    def _response(self, report: Report) -> Response:
        fatal = bool(report.down & self._essential)
        status = "down" if fatal else "degraded" if report.down else "ok"
        return JSONResponse({"status": status, "parts": report.parts}, 503 if fatal else 200)


class _Round:
    """Checks that are made together; for all who ask while they run, and a moment longer."""

    def __init__(self, checks: Mapping[str, Check], clock: Callable[[], float]) -> None:
        self._checks = checks
        self._clock = clock
        self._lock = asyncio.Lock()
        self._report = Report({})
        self._until = float("-inf")

    async def report(self) -> Report:
        async with self._lock:
            if self._clock() >= self._until:
                results = await asyncio.gather(*(_checked(check) for check in self._checks.values()))
                self._report = Report(dict(zip(self._checks, results, strict=True)))
                self._until = self._clock() + KEPT_SECONDS
            return self._report


async def _checked(check: Check) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return {"status": "ok", "latency_ms": round(await check() * 1000, 1)}
    except Exception as error:  # noqa: BLE001 - whatever a dependency raises, it is what is asked for
        return {"status": "down", "reason": type(error).__name__}


def create_app(title: str, health: Health, metrics: Render | None = None) -> FastAPI:
    """An application with the pages of every service; a service adds its own routes."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/livez")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready() -> Response:
        return await health.ready()

    @app.get("/health")
    async def everything() -> Response:
        return await health.everything()

    if metrics is not None:

        @app.get("/metrics")
        async def shown() -> Response:
            return Response(await metrics(), media_type=METRICS_TYPE)

    return app
