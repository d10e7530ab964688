"""What surrounds every request: an id, a log line, two numbers, and an answer even to our own mistakes."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_core.api.exchange import STATUS_CLIENT_LEFT, Exchange, attach
from ai_core.api.inner import facts_of, note_front_door
from ai_core.api.rate_headers import rate_headers
from ai_core.api.tracing import RequestRecord, Tracing
from servicekit.logging import get_logger, new_request_id, request_context

REQUEST_ID_HEADER = b"x-request-id"
MAX_REQUEST_ID_CHARACTERS = 128
PROBES = frozenset({"/livez", "/readyz", "/api/v1/metrics"})
OUR_FAILURES = (500, 502, 503, 504)
"""Statuses of answers that alerts count."""

KEY_SHAPE = re.compile(rb"neo_[a-z0-9]{10}_")
"""How API keys begin."""

log = get_logger(__name__)


def usable_request_id(value: bytes) -> bool:
    """Whether a caller's id can go into headers and logs as it is: printable ASCII, no spaces, not long,
    and no API key by mistake."""
    fits = 0 < len(value) <= MAX_REQUEST_ID_CHARACTERS and all(33 <= byte <= 126 for byte in value)
    return fits and KEY_SHAPE.search(value) is None


def request_id_of(scope: Scope) -> str:
    """The caller's ``X-Request-ID`` if it is usable, else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and usable_request_id(value):
            return str(value, "ascii")
    return new_request_id()


def origin_of(error: BaseException) -> list[str]:
    """The traceback of an error and of those that led to it: types, places and code, no messages."""
    lines: list[str] = []
    link: BaseException | None = error
    while link is not None:
        lines += [type(link).__qualname__, *traceback.format_tb(link.__traceback__)]
        link = link.__cause__ or link.__context__
    return lines


class RequestCounter:
    """``neo_requests_total``: HTTP requests by route and status; ``neo_errors_total``: by what failed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "neo_requests",
            "HTTP requests; status 499: the caller left first.",
            ["route", "status"],
            registry=registry,
        )
        self._errors = Counter(
            "neo_errors", "Requests that were answered with an error.", ["code"], registry=registry
        )

    def expect(self, route: str) -> None:
        """Tell of our failures on this route before the first: what is first seen as 1 has not grown for
        Prometheus."""
        for status in OUR_FAILURES:
            self._total.labels(route, str(status))

    def count(self, route: str, status: int, error: str | None = None) -> None:
        """One request has ended. ``error`` is the code, one of a few dozens."""
        self._total.labels(route, str(status)).inc()
        if error is not None:
            self._errors.labels(error).inc()


class RequestScope:
    """The outermost layer of the application. Pure ASGI, so that streams pass through unbuffered."""

    def __init__(
        self,
        app: ASGIApp,
        counter: RequestCounter,
        tracing: Tracing | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._counter = counter
        self._tracing = tracing
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            note_front_door(scope, self)
            await self._talk(scope, receive, send)
            return
        exchange = Exchange(request_id_of(scope), facts=dict(facts_of(scope)))
        attach(scope, exchange)
        began, arrival = time.time_ns(), self._clock()
        with request_context(exchange.request_id):
            try:
                await self._app(scope, receive, _noting(send, exchange))
            except Exception as error:  # noqa: BLE001
                # The caller has been told already. The error's own words stay out of the log: they may
                # quote what the caller wrote.
                log.error("unexpected error", where=origin_of(error))  # noqa: TRY400
            finally:
                self._report(scope, exchange, self._clock() - arrival)
                if self._tracing is not None:
                    self._tracing.record(_record(scope, exchange, began))

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001
            # As for requests. The server closes what the application leaves open.
            log.error("unexpected error", where=origin_of(error))  # noqa: TRY400

    def _report(self, scope: Scope, exchange: Exchange, seconds: float) -> None:
        route = _route(scope)
        status = exchange.status or STATUS_CLIENT_LEFT
        self._counter.count(route, status, exchange.error_code)
        write = log.debug if route in PROBES else log.info
        fields = {"error": exchange.error_code} if exchange.error_code else {}
        write(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 4),
            **fields,
            **exchange.facts,
        )


def _route(scope: Scope) -> str:
    """The route's pattern, never the path that was asked for."""
    route: str = getattr(scope.get("route"), "path", "unknown")
    return route


def _record(scope: Scope, exchange: Exchange, began: int) -> RequestRecord:
    header = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
    return RequestRecord(
        method=scope["method"],
        route=_route(scope),
        status=exchange.status or STATUS_CLIENT_LEFT,
        request_id=exchange.request_id,
        began=began,
        ended=time.time_ns(),
        error=exchange.error_code,
        facts=exchange.facts,
        traceparent=None if header is None else header.decode("latin-1"),
    )


def _noting(send: Send, exchange: Exchange) -> Send:
    """``send``, which also adds to the answer the request's id and how its key stands, and notes how far
    the answer is."""

    async def noting_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                *rate_headers(exchange.standing),
                *exchange.headers,
                (REQUEST_ID_HEADER, exchange.request_id.encode("ascii")),
            ]
        elif not message.get("more_body", False):
            exchange.complete = True
        await send(message)

    return noting_send
