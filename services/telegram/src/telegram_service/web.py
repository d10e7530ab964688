"""The service's door: Telegram's webhook, and what those who run it want to know."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from servicekit.journal.gate import Gate
from servicekit.serving.health import Health, Render, create_app
from servicekit.storage.database import StorageUnavailable
from telegram_service.intake import Intake

WEBHOOK_PATH = "/api/v1/webhooks/telegram"
SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105 - its name, not what it holds
MAX_UPDATE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Door:
    """What the routes work with."""

    intake: Intake
    secret: str | None
    """None: there is no webhook."""
    health: Health
    metrics: Render | None = None
    gate: Gate | None = None
    """Learns that updates come in."""


async def _read_at_most(request: Request, most: int) -> bytes | None:
    """The body; None, if it is larger, whatever its headers say."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def create_web(door: Door) -> FastAPI:
    """The application."""
    app = create_app("Code du Travail Neo, Telegram service", door.health, door.metrics)

    async def webhook(request: Request) -> Response:
        shown = request.headers.get(SECRET_HEADER, "")
        if door.secret is None or not hmac.compare_digest(shown.encode(), door.secret.encode()):
            return JSONResponse({"error": "this is not for you"}, 403)
        if door.gate is not None:
            door.gate.came()
        body = await _read_at_most(request, MAX_UPDATE_BYTES)
        if body is None:
            return JSONResponse({"error": "the update is too large"}, 413)
        try:
            update = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, ValueError, RecursionError):
            return JSONResponse({"error": "an update is a JSON object"}, 400)
        try:
            await door.intake.take(update)
        except StorageUnavailable as error:
            # Telegram comes again with it.
            return JSONResponse(
                {"error": "not stored"}, 503, {"retry-after": f"{max(1, round(error.retry_after))}"}
            )
        return JSONResponse({"status": "stored"})

    # Past FastAPI's reading of parameters: there are none, and updates come in crowds.
    app.add_route(WEBHOOK_PATH, webhook, methods=["POST"])
    return app
