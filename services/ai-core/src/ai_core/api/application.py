"""The ASGI application: routes, error handlers and middleware, put together from a context."""

from __future__ import annotations

import re
from functools import partial

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ai_core.api.adapter_routes import adapter_routes
from ai_core.api.admin_routes import admin_routes
from ai_core.api.answering import unexpected_error
from ai_core.api.batch_routes import BATCHES_PATH, batch_routes
from ai_core.api.body_limit import BodyLimit
from ai_core.api.chat_socket.route import chat_socket_routes
from ai_core.api.context import ApiContext
from ai_core.api.cors import Cors
from ai_core.api.description_routes import description_routes
from ai_core.api.embedding_routes import embedding_routes
from ai_core.api.error_response import error_response
from ai_core.api.errors import MethodNotAllowed, RouteNotFound
from ai_core.api.exchange import STATUS_CLIENT_LEFT, exchange_of
from ai_core.api.gate import Gate
from ai_core.api.middleware import RequestCounter, RequestScope
from ai_core.api.model_routes import model_routes
from ai_core.api.native_routes import native_routes
from ai_core.api.openai_routes import openai_routes
from ai_core.api.openapi import describe
from ai_core.api.operations_routes import operations_routes
from ai_core.api.pull_routes import pull_routes
from ai_core.api.removal_routes import removal_routes
from ai_core.api.residency_routes import residency_routes
from ai_core.api.route_access import RouteTable, declared_routes
from ai_core.api.session_routes import session_routes
from ai_core.api.transcription_form import FORM_OVERHEAD_BYTES
from ai_core.api.transcription_routes import TRANSCRIPTIONS_PATH, transcription_routes
from ai_core.api.usage_routes import usage_routes
from ai_core.errors import InvalidRequest, NeoError

MAX_PATH_ECHO = 80

ANSWERS = re.compile(r"/api/v1/(chat|generate)|/v1/.+")
"""The routes of which deploy/prometheus/rules says how many requests fail."""


class Silence(Response):
    """No response at all: the caller has left."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange_of(scope).status = STATUS_CLIENT_LEFT


def create_application(context: ApiContext) -> ASGIApp:
    """The application for one context; nothing of it is shared with another."""
    app = FastAPI(
        title="Code du Travail Neo: AI core",
        version=context.version,
        redirect_slashes=False,
        # Its pages load scripts from elsewhere; description_routes has ours.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # Nothing leaves this machine, whatever variables are set.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.include_router(native_routes(context))
    app.include_router(session_routes(context))
    app.include_router(chat_socket_routes(context))
    app.include_router(openai_routes(context))
    app.include_router(embedding_routes(context))
    app.include_router(transcription_routes(context))
    app.include_router(batch_routes(context))
    app.include_router(adapter_routes(context))
    app.include_router(operations_routes(context))
    app.include_router(residency_routes(context))
    app.include_router(pull_routes(context))
    app.include_router(removal_routes(context))
    app.include_router(admin_routes(context))
    app.include_router(usage_routes(context))
    app.include_router(model_routes(context))
    app.include_router(description_routes(app))
    routes = declared_routes(app.routes)
    app.openapi = partial(describe, app, context.access.key_header, routes)  # type: ignore[method-assign]
    app.add_exception_handler(NeoError, _answer_neo_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_unexpected)
    audio_limit = context.max_audio_bytes + FORM_OVERHEAD_BYTES
    gate: ASGIApp = Gate(
        BodyLimit(
            app,
            context.max_body_bytes,
            {TRANSCRIPTIONS_PATH: audio_limit, BATCHES_PATH: context.max_batch_bytes},
        ),
        context.access.authenticator,
        context.limiter,
        RouteTable(routes),
    )
    if context.cors_origins:
        gate = Cors(gate, context.cors_origins)
    counter = RequestCounter(context.registry)
    for route in routes:
        if "POST" in route.methods and ANSWERS.fullmatch(route.path):
            counter.expect(route.path)
    return RequestScope(gate, counter, context.tracing)


async def _answer_neo_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, NeoError)
    return error_response(request.scope, error)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    shown = path if len(path) <= MAX_PATH_ECHO else path[: MAX_PATH_ECHO - 1] + "…"
    if error.status_code == 404:
        return error_response(
            request.scope, RouteNotFound(f"There is nothing at {shown}. See /openapi.json.")
        )
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        response = error_response(
            request.scope, MethodNotAllowed(f"{request.method} is not possible at {shown}; {allowed} is.")
        )
        response.headers["allow"] = allowed
        return response
    return error_response(request.scope, InvalidRequest(str(error.detail)))


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Silence()


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    return error_response(request.scope, unexpected_error(exchange_of(request.scope).request_id))
