"""GET /api/v1/ws/chat: who may open a chat socket."""

from __future__ import annotations

import time

from fastapi import APIRouter, WebSocket
from prometheus_client import Gauge
from starlette.responses import Response

from ai_core.access.caller import Scope
from ai_core.api.chat_socket.connection import Connection
from ai_core.api.chat_socket.visitor import Visitor, check_origin
from ai_core.api.context import ApiContext
from ai_core.api.errors import error_body, error_headers, status_of
from ai_core.api.inner import front_door
from ai_core.api.route_access import authenticates_itself
from ai_core.errors import NeoError
from servicekit.logging import get_logger

log = get_logger(__name__)


def chat_socket_routes(context: ApiContext) -> APIRouter:
    """The WebSocket."""
    router = APIRouter(prefix="/api/v1")
    gauge = Gauge("neo_websocket_connections", "Open WebSockets.", registry=context.registry)
    gauge.set_function(lambda: context.sockets.count)

    @router.websocket("/ws/chat")
    @authenticates_itself(Scope.GENERATE)
    async def chat(socket: WebSocket) -> None:
        visitor = Visitor(socket.scope, context.access)
        try:
            context.inference.requests.refuse_if_closed()
            check_origin(socket.headers, context.cors_origins)
            if visitor.shows_a_key:
                await visitor.show(None)
        except NeoError as error:
            log.info("websocket refused", status=status_of(error), error=error.code)
            await socket.send_denial_response(_refusal(error))
            return
        await socket.accept()
        connection = Connection(socket, visitor, front_door(socket.scope), context.sockets)
        began = time.monotonic()
        with context.sockets.enter():
            await connection.serve()
        log.info(
            "websocket closed",
            key_id=visitor.key_id or None,
            requests=connection.tally.requests,
            code=connection.tally.code,
            seconds=round(time.monotonic() - began, 3),
        )

    return router


def _refusal(error: NeoError) -> Response:
    return Response(error_body(error), status_of(error), error_headers(error), media_type="application/json")
