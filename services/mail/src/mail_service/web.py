"""The service's door: what those who run it want to know and do."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from mail_service.admin.office import Office
from mail_service.admin.routes import admin_routes
from mail_service.answering.judging import Examiners
from mail_service.connecting import Post
from mail_service.metrics import Metrics
from mail_service.scanning.port import NoScanner
from servicekit.ai_core.client import AiCore
from servicekit.hot_state import HotState
from servicekit.journal.journal import now_in_utc
from servicekit.journal.ledger import Ledger
from servicekit.serving.health import Check, Health, create_app
from servicekit.storage.database import Database, StorageUnavailable
from servicekit.storage.sealing import Unreadable

OLD_SECONDS = 3_600.0
"""A mail that has waited for so long is a sign that something is wrong."""


class QueueTooOld(Exception):
    """The oldest mail has waited too long."""


def create_web(health: Health, metrics: Metrics, office: Office, admin_key: SecretStr | None) -> FastAPI:
    """The application."""
    app = create_app("Code du Travail Neo, mail service", health, metrics.render)
    app.include_router(admin_routes(office, admin_key))

    @app.exception_handler(StorageUnavailable)
    async def away(_request: Request, error: Exception) -> Response:
        seconds = error.retry_after if isinstance(error, StorageUnavailable) else 1.0
        headers = {"retry-after": f"{max(1, round(seconds))}"}
        return JSONResponse({"detail": "the database cannot be reached at present"}, 503, headers)

    @app.exception_handler(Unreadable)
    async def sealed(_request: Request, _error: Exception) -> Response:
        return JSONResponse({"detail": "it was sealed with another SECRET_KEY"}, 409)

    return app


def checks_of(
    database: Database, ai_core: AiCore, hot: HotState, post: Post, examiners: Examiners, ledger: Ledger
) -> dict[str, Check]:
    """All that the service depends on, by name; with several accounts, each has a number."""
    checks: dict[str, Check] = {
        "database": database.ping,
        "ai_core": ai_core.ping,
        "queue": partial(_queue, ledger),
    }
    checks |= {name: mailbox.ping for name, mailbox in post.numbered_mailboxes.items()}
    checks |= {name: outlet.ping for name, outlet in post.numbered_outlets.items()}
    if hot.ping is not None:
        checks["redis"] = hot.ping
    for name, scanner in (("spam_scanner", examiners.spam), ("virus_scanner", examiners.virus)):
        if not isinstance(scanner, NoScanner):
            checks[name] = scanner.ping
    return checks


async def _queue(ledger: Ledger) -> float:
    """The age of the oldest mail, in the place of a latency. Raises QueueTooOld."""
    oldest = (await ledger.backlog()).oldest
    age = 0.0 if oldest is None else (now_in_utc() - oldest).total_seconds()
    if age > OLD_SECONDS:
        raise QueueTooOld
    return age
