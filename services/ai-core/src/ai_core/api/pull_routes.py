"""Fetching models over HTTP, for who has the scope ``models:write``."""

from __future__ import annotations

import contextlib

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ai_core.access.caller import Caller
from ai_core.access.caller import Scope as AccessScope
from ai_core.access.models import model_for
from ai_core.api.answering import unexpected_error
from ai_core.api.context import ApiContext
from ai_core.api.errors import error_body
from ai_core.api.event_stream import EventStream, error_event
from ai_core.api.exchange import STATUS_CLIENT_LEFT, Exchange, caller_of, exchange_of
from ai_core.api.json_body import read_body
from ai_core.api.openapi import takes
from ai_core.api.presence import ClientLeft, while_client_stays
from ai_core.api.pull_answers import PullEvents
from ai_core.api.pull_requests import PullBody
from ai_core.api.route_access import needs
from ai_core.catalog.hub.messages import Final, Order
from ai_core.catalog.hub.orders import order_for, order_of
from ai_core.catalog.hub.pulls import Pulls
from ai_core.catalog.models import Catalog
from ai_core.errors import NeoError, NotConfigured
from servicekit.logging import get_logger

log = get_logger(__name__)


def pull_routes(context: ApiContext) -> APIRouter:
    """``POST /api/v1/models/pull``."""
    router = APIRouter(prefix="/api/v1/models", tags=["operations"])

    @router.post("/pull", summary="Fetch a model from the hub", openapi_extra=takes(PullBody))
    @needs(AccessScope.MODELS_WRITE)
    async def pull(request: Request) -> Response:
        context.inference.requests.refuse_if_closed()
        body = await read_body(request, PullBody)
        pulls = context.pulls
        if pulls is None:
            raise NotConfigured("This server serves no models from the hub.")
        caller = caller_of(request.scope)
        order = _order(pulls, body.name, caller, context.inference.catalog)
        log.info("pull asked", repository=order.repository, by=caller.key_id)
        return PullResponse(pulls, order, body.name)

    return router


def _order(pulls: Pulls, name: str, caller: Caller, catalog: Catalog) -> Order:
    """Raises ModelNotFound, also for a key bound to models that asks for others; InvalidRequest."""
    if caller.allowed_models:
        return order_of(model_for(caller, catalog, name), pulls.terms)
    return order_for(name, catalog, pulls.terms)


class PullResponse(Response):
    """The events of one pull, for as long as the caller is there. A pull that others follow goes on.

    Status and headers wait for the first event, so what fails before has a status of its own.
    """

    def __init__(self, pulls: Pulls, order: Order, name: str) -> None:
        self._pulls = pulls
        self._order = order
        self._events = PullEvents(name)
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        stream = EventStream(send, exchange)
        try:
            async with while_client_stays(receive, stream):
                await self._follow_or_fail(exchange, stream)
        except ClientLeft:
            exchange.status = STATUS_CLIENT_LEFT

    async def _follow_or_fail(self, exchange: Exchange, stream: EventStream) -> None:
        try:
            await self._follow(stream)
        except NeoError as error:
            if not stream.started:
                raise
            exchange.error_code = error.code
            await stream.write(error_event(error_body(error)), last=True)
        except Exception:
            # The status is out already: the most that can be done is to say so in the stream.
            if stream.started and not stream.complete:
                apology = unexpected_error(exchange.request_id)
                exchange.error_code = apology.code
                await stream.write(error_event(error_body(apology)), last=True)
            raise

    async def _follow(self, stream: EventStream) -> None:
        async with contextlib.aclosing(self._pulls.follow(self._order)) as events:
            async for event in events:
                told = self._events.event(event)
                if not stream.started:
                    await stream.start()
                await stream.write(told, last=isinstance(event, Final))
