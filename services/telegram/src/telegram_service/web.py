"""The service's door: Telegram's webhook, and what those who run it want to know."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from servicekit.storage.database import StorageUnavailable
from telegram_service.intake import Intake

WEBHOOK_PATH = "/api/v1/webhooks/telegram"
SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105 - its name, not what it holds
MAX_UPDATE_BYTES = 1_048_576

Check = Callable[[], Awaitable[float]]
"""Seconds that a dependency took to answer. Raises whatever it raises."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the routes work with."""

    intake: Intake
    secret: str | None
    """None: there is no webhook."""
    checks: Mapping[str, Check]


def create_web(door: Door) -> FastAPI:
    """The application."""
    app = FastAPI(
        title="Code du Travail Neo, Telegram service", docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.get("/livez")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready() -> Response:
        return await _health(door, only="database")

    @app.get("/health")
    async def health() -> Response:
        return await _health(door)

    @app.post(WEBHOOK_PATH)
    async def webhook(request: Request) -> Response:
        shown = request.headers.get(SECRET_HEADER, "")
        if door.secret is None or not hmac.compare_digest(shown.encode(), door.secret.encode()):
            return JSONResponse({"error": "this is not for you"}, 403)
        if int(request.headers.get("content-length") or 0) > MAX_UPDATE_BYTES:
            return JSONResponse({"error": "the update is too large"}, 413)
        try:
            update = await request.json()
        except ValueError:
            update = None
        if not isinstance(update, dict):
            return JSONResponse({"error": "an update is a JSON object"}, 400)
        try:
            await door.intake.take(update)
        except StorageUnavailable as error:
            # Telegram comes again with it.
            return JSONResponse(
                {"error": "not stored"}, 503, {"retry-after": f"{max(1, round(error.retry_after))}"}
            )
        return JSONResponse({"status": "stored"})

    return app


async def _health(door: Door, only: str | None = None) -> Response:
    parts: dict[str, Any] = {}
    for name, check in door.checks.items():
        if only is not None and name != only:
            continue
        try:
            parts[name] = {"status": "ok", "latency_ms": round(await check() * 1000, 1)}
        except Exception as error:  # noqa: BLE001 - whatever a dependency raises, it is what is asked for
            parts[name] = {"status": "down", "reason": type(error).__name__}
    fine = all(part["status"] == "ok" for part in parts.values())
    return JSONResponse({"status": "ok" if fine else "degraded", "parts": parts}, 200 if fine else 503)
