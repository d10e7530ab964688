"""Nobody passes without a key, nor more often than the key may: before anything else looks at a request."""

from __future__ import annotations

from starlette.routing import get_route_path  # type: ignore[attr-defined]
from starlette.types import ASGIApp, Receive, Scope, Send

from ai_core.access.authenticator import Authenticator
from ai_core.access.caller import Caller
from ai_core.access.limits.limiter import Limiter
from ai_core.api.answering import unexpected_error
from ai_core.api.deadline import timeout_in
from ai_core.api.error_response import error_response
from ai_core.api.exchange import exchange_of
from ai_core.api.inner import vouched_caller
from ai_core.api.route_access import DeclaredRoute, RouteAccess, RouteTable
from ai_core.errors import Forbidden, NeoError, Unauthorized

ANY_KEY = RouteAccess()
"""What counts where there is no route: strangers are not told which paths exist."""


class Gate:
    """Around the whole application. The caller is noted on the exchange; the router comes after."""

    def __init__(
        self, app: ASGIApp, authenticator: Authenticator, limiter: Limiter, table: RouteTable
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._limiter = limiter
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        route = self._table.find(get_route_path(scope), scope["method"])
        if route is not None:
            # For the log and the metrics; where the request gets through, the router sets its own.
            scope["route"] = route
        try:
            await self._admit(scope, route)
        except NeoError as error:
            await error_response(scope, error)(scope, receive, send)
        except Exception:
            apology = unexpected_error(exchange_of(scope).request_id)
            await error_response(scope, apology)(scope, receive, send)
            raise
        else:
            await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, route: DeclaredRoute | None) -> None:
        access = route.access if route else ANY_KEY
        if access.public:
            return
        exchange = exchange_of(scope)
        try:
            caller = vouched_caller(scope) or await self._authenticator.authenticate(
                scope["headers"], scope["client"], basic=access.browser
            )
        except Unauthorized as error:
            error.browser = access.browser
            raise
        exchange.caller = caller
        exchange.facts["key_id"] = caller.key_id
        exchange.standing.requests = await self._limiter.admit(caller)
        check_scope(caller, access)
        exchange.timeout = timeout_in(scope["headers"])

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._table.find(get_route_path(scope), "")
        if route is not None and route.access.own:
            await self._app(scope, receive, send)
        else:
            # Before it is accepted, closing is answered with 403.
            await send({"type": "websocket.close", "code": 1008})


def check_scope(caller: Caller, access: RouteAccess) -> None:
    """Raises Forbidden, code ``insufficient_scope``, if the key does not have the route's scope."""
    if access.scope is not None and not caller.may(access.scope):
        raise Forbidden(
            f"This API key does not have the scope '{access.scope}', which is needed here.",
        )
