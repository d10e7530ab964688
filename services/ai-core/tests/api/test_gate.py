"""Every route, every method, with every kind of key: who may not, does not."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import Message

from access_keys import KEY, temporary_access
from ai_core.access.administration import KeyWish, utc_now
from ai_core.access.assembly import access_over
from ai_core.access.caller import Scope
from ai_core.access.keys import new_key
from ai_core.api.application import create_application
from ai_core.api.gate import Gate
from ai_core.api.route_access import (
    DeclaredRoute,
    RouteTable,
    UndeclaredAccess,
    authenticates_itself,
    declared_routes,
    needs,
    open_to_all,
)
from ai_core.config import Settings
from edge_server import LIMITS, FakeEngine, Server, echo, error_of, listening, make_context, running_server
from servers import PostgresServer

OPEN = {"/livez", "/readyz"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running_server(FakeEngine(script=echo)) as running:
        yield running


def gate_of(server: Server) -> Gate:
    """The gate inside the application, whatever surrounds it."""
    layer: Any = server.application
    while not isinstance(layer, Gate):
        layer = layer._app if hasattr(layer, "_app") else layer.app
    return layer


def routes_of(server: Server) -> list[DeclaredRoute]:
    return list(gate_of(server)._table._routes)


def path_of(route: DeclaredRoute) -> str:
    """An address that leads there."""
    return re.sub(r"\{[^}]*\}", "fake-model", route.path)


async def expired_key(server: Server) -> str:
    keys = server.context.access.keys
    soon = KeyWish(name="soon", scopes=frozenset(Scope), expires_at=utc_now() + timedelta(hours=1))
    issued = await keys.create(soon)
    past = replace(issued.record, id="expired000", expires_at=utc_now() - timedelta(seconds=1))
    await keys._keys.add(past)
    return str(replace(issued.key, id="expired000"))


async def revoked_key(server: Server) -> str:
    key = await server.new_key()
    await server.context.access.keys.revoke(key.split("_")[1])
    return key


def raw(headers: dict[str, bytes]) -> dict[bytes, bytes]:
    """As they go over the wire."""
    return {name.encode(): value for name, value in headers.items()}


async def wrong_keys(server: Server) -> dict[str, str]:
    return {
        "empty": "",
        "nonsense": "nonsense",
        "foreign letters": "é",
        "unknown": str(new_key()),
        "wrong secret": str(replace(new_key(), id=KEY.id)),
        "expired": await expired_key(server),
        "revoked": await revoked_key(server),
    }


async def test_no_route_opens_without_a_valid_key(server: Server) -> None:
    keys = await wrong_keys(server)
    wrong = {
        "none": {},
        **{what: {"X-API-Key": key.encode()} for what, key in keys.items()},
        **{
            f"{what} as a token": {"Authorization": f"Bearer {key}".strip().encode()}
            for what, key in keys.items()
        },
        "basic": {"Authorization": b"Basic " + base64.b64encode(f"me:{new_key()}".encode())},
    }
    tried = 0
    paths = {path_of(route) for route in routes_of(server)}
    for path in paths | {"/", "/nowhere", "/api/v1/%2e%2e/livez"}:
        for method in METHODS:
            for what, headers in wrong.items():
                response = await server.anonymous.request(method, path, headers=raw(headers))
                tried += 1
                if path in OPEN:
                    assert response.status_code != 401
                    continue
                assert response.status_code == 401, (method, path, what)
                assert response.headers["www-authenticate"].startswith(("Bearer ", "Basic "))
                if method != "HEAD":
                    assert error_of(response)["code"].endswith("_api_key")
    assert tried > 500
    assert not server.engine.requests


async def test_each_route_opens_with_its_own_scope_and_no_other(server: Server) -> None:
    keys = {scope: await server.new_key(scope) for scope in Scope}
    for route in routes_of(server):
        for method in sorted(route.methods):
            for scope, key in keys.items():
                response = await server.anonymous.request(
                    method, path_of(route), headers={"X-API-Key": key}, json={}
                )
                needed = route.access.scope
                if route.access.public or needed is None or scope is needed:
                    assert response.status_code not in {401, 403}, (method, route.path, scope)
                else:
                    assert response.status_code == 403, (method, route.path, scope)
                    assert error_of(response)["code"] == "insufficient_scope"
                    assert needed in error_of(response)["message"]
                    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]


async def test_only_the_probes_are_open(server: Server) -> None:
    assert {route.path for route in routes_of(server) if route.access.public} == OPEN


async def test_the_walk_knows_every_route_that_the_application_has(server: Server) -> None:
    """The table that the gate decides by holds what OpenAPI describes, and the pages that it leaves out."""
    described = (await server.client.get("/openapi.json")).json()["paths"]
    known = {re.sub(r":path\}", "}", route.path) for route in routes_of(server)}
    assert set(described) <= known
    assert {"/docs", "/openapi.json"} <= known


async def test_no_websocket_opens_with_a_wrong_key(server: Server) -> None:
    keys = await wrong_keys(server) | {"wrong scope": await server.new_key(*(set(Scope) - {Scope.GENERATE}))}
    sockets = [route for route in routes_of(server) if not route.methods]
    assert sockets
    for route in sockets:
        for what, key in keys.items():
            if key:
                refused = await websocket(server.application, route.path, [(b"x-api-key", key.encode())])
                assert refused[0] in {"websocket.close", "websocket.http.response.start"}, (route.path, what)
            messages = [{"type": "auth", "key": key}, {"type": "chat", "id": "1", "prompt": "Hello"}]
            said = await websocket(server.application, route.path, [], messages)
            assert (said[0], said[-1]) == ("websocket.accept", "websocket.close"), (route.path, what)
    assert not server.engine.requests


@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/health", "/nowhere", "/livez"])
async def test_a_websocket_is_closed_wherever_no_route_takes_one(server: Server, path: str) -> None:
    """Without a key and with one: HTTP routes and unknown paths are no WebSockets."""
    for headers in ([], [(b"x-api-key", str(KEY).encode())]):
        assert await websocket(server.application, path, headers) == ["websocket.close"]


async def websocket(
    application: Any,
    path: str,
    headers: list[tuple[bytes, bytes]],
    messages: Sequence[dict[str, str]] = (),
) -> list[str]:
    """The kinds of messages with which an application answers to a WebSocket that says this and leaves."""
    sent: list[str] = []
    texts = [{"type": "websocket.receive", "text": json.dumps(message)} for message in messages]
    events = iter([{"type": "websocket.connect"}, *texts])

    async def receive() -> Message:
        return next(events, {"type": "websocket.disconnect", "code": 1000})

    async def send(message: Message) -> None:
        sent.append(message["type"])

    scope = {
        "type": "websocket",
        "path": path,
        "headers": headers,
        "client": ("192.0.2.1", 1),
        "root_path": "",
        "extensions": {"websocket.http.response": {}},
    }
    await application(scope | {"query_string": b"", "subprotocols": []}, receive, send)
    return sent


async def test_a_websocket_route_that_authenticates_itself_is_reached(server: Server) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    @authenticates_itself(Scope.GENERATE)
    async def talk(socket: WebSocket) -> None:
        caller = await server.context.access.authenticator.authenticate(
            socket.scope["headers"], socket.scope["client"], str(KEY)
        )
        assert caller.may(Scope.GENERATE)
        await socket.accept()

    declared = [route for route in declared_routes(app.routes[-1:]) if not route.methods]
    context = server.context
    gate = Gate(app, context.access.authenticator, context.limiter, RouteTable(declared))
    assert await websocket(gate, "/ws", []) == ["websocket.accept"]
    assert await websocket(gate, "/other", []) == ["websocket.close"]


def undeclared_route() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.get("/forgotten")(lambda: None)
    return app


def undeclared_in_a_router() -> FastAPI:
    app, router = FastAPI(openapi_url=None), APIRouter(prefix="/x")
    router.get("/forgotten")(lambda: None)
    app.include_router(router)
    return app


def undeclared_websocket() -> FastAPI:
    app = FastAPI(openapi_url=None)

    async def talk(socket: WebSocket) -> None:
        await socket.accept()

    app.websocket("/ws")(talk)
    return app


def websocket_declared_as_a_route() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.websocket("/ws")
    @needs(Scope.GENERATE)
    async def talk(socket: WebSocket) -> None:
        await socket.accept()

    return app


def route_declared_as_a_websocket() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.get("/x")(authenticates_itself(Scope.GENERATE)(lambda: None))
    return app


def mounted_application() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.router.routes.append(Mount("/files", app=PlainTextResponse("secret")))
    return app


def plain_route() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.router.routes.append(Route("/plain", lambda request: PlainTextResponse("secret")))
    return app


@pytest.mark.parametrize(
    "make",
    [
        undeclared_route,
        undeclared_in_a_router,
        undeclared_websocket,
        websocket_declared_as_a_route,
        route_declared_as_a_websocket,
        mounted_application,
        plain_route,
        FastAPI,
    ],
)
def test_an_application_with_a_route_that_says_nothing_is_not_built(make: Any) -> None:
    with pytest.raises(UndeclaredAccess):
        declared_routes(make().routes)


async def test_a_route_that_is_forgotten_stops_the_whole_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = APIRouter()
    router.get("/forgotten")(lambda: None)
    monkeypatch.setattr("ai_core.api.application.usage_routes", lambda _: router)
    with pytest.raises(UndeclaredAccess, match="/forgotten"):
        async with running_server(FakeEngine()):
            pass


def test_the_table_finds_what_the_router_will_find() -> None:
    app = FastAPI(openapi_url=None)
    app.get("/a/{name:path}")(needs(Scope.ADMIN)(lambda: None))
    app.get("/a/b")(open_to_all(lambda: None))
    app.post("/c")(needs(Scope.METRICS)(lambda: None))
    table = RouteTable(declared_routes(app.routes))
    # The first that fits is taken, though a later one fits better.
    shadowing = table.find("/a/b", "GET")
    assert shadowing is not None
    assert shadowing.access.scope is Scope.ADMIN
    wrong_method = table.find("/c", "GET")
    assert wrong_method is not None
    assert wrong_method.access.scope is Scope.METRICS
    assert table.find("/c/", "POST") is None
    assert table.find("/c", "") is None


async def test_a_browser_opens_the_pages_with_the_key_as_password(server: Server) -> None:
    for path in ("/docs", "/openapi.json", "/docs/swagger-ui-bundle.js"):
        asked = await server.anonymous.get(path)
        assert asked.headers["www-authenticate"] == 'Basic realm="ai-core", charset="UTF-8"'
        answer = await server.anonymous.get(path, auth=httpx.BasicAuth("anyone", str(KEY)))
        assert answer.status_code == 200
    # And nothing else: what a browser sends by itself must not start anything.
    for path in ("/api/v1/health", "/api/v1/admin/keys"):
        response = await server.anonymous.get(path, auth=httpx.BasicAuth("anyone", str(KEY)))
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == 'Bearer realm="ai-core"'


async def test_the_page_loads_nothing_from_elsewhere(server: Server) -> None:
    page = await server.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 4
    for path in loaded:
        part = await server.client.get(f"/{path}")
        assert part.status_code == 200
        assert part.content
    assert "openapi.json" in (await server.client.get("/docs/start.js")).text


async def test_the_description_says_how_keys_are_sent(server: Server) -> None:
    description = (await server.client.get("/openapi.json")).json()
    schemes = description["components"]["securitySchemes"]
    assert {"type": "apiKey", "in": "header", "name": "X-API-Key"}.items() <= schemes["ApiKey"].items()
    assert description["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert description["paths"]["/livez"]["get"]["security"] == []
    assert "security" not in description["paths"]["/api/v1/chat"]["post"]


async def test_log_lines_name_the_key_by_its_id_and_a_refusal_by_its_reason(server: Server) -> None:
    key = await server.new_key(Scope.METRICS)
    with structlog.testing.capture_logs() as lines:
        await server.chat(prompt="x")
        await server.anonymous.post("/api/v1/chat", json={}, headers={"X-API-Key": key})
        await server.anonymous.post("/api/v1/chat", json={})
    assert [(line["route"], line["status"], line.get("key_id"), line.get("error")) for line in lines] == [
        ("/api/v1/chat", 200, KEY.id, None),
        ("/api/v1/chat", 403, key.split("_")[1], "insufficient_scope"),
        ("/api/v1/chat", 401, None, "missing_api_key"),
    ]
    assert KEY.secret not in str(lines)
    assert key not in str(lines)


async def test_a_mistake_of_ours_at_the_gate_lets_nobody_in_and_tells_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"{words} words")

    words = "secret"

    monkeypatch.setattr("ai_core.access.authenticator.checked", broken)
    with structlog.testing.capture_logs() as lines:
        response = await server.chat(prompt="x")
    assert response.status_code == 500
    assert error_of(response)["code"] == "internal_error"
    assert not server.engine.requests
    assert lines[-1]["route"] == "/api/v1/chat"
    assert "secret words" not in str(lines) + response.text


async def test_a_database_that_is_away_is_a_503_for_strangers_only(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    async with running_server(FakeEngine(script=echo), database=postgres_url) as server:
        known, unknown = [{"X-API-Key": await server.new_key()} for _ in range(2)]
        ask = partial(server.anonymous.get, "/v1/models")
        assert (await ask(headers=known)).status_code == 200

        await asyncio.to_thread(postgres_server.stop)
        assert (await ask(headers=known)).status_code == 200
        refused = await ask(headers=unknown)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert error_of(refused)["code"] == "storage_unavailable"
        assert (await ask()).status_code == 401
        assert (await server.anonymous.get("/livez")).status_code == 200

        await asyncio.to_thread(postgres_server.start)
        async with asyncio.timeout(5):
            while (await ask(headers=unknown)).status_code == 503:
                pass
        assert (await ask(headers=unknown)).status_code == 200


async def test_keys_bound_to_networks_are_refused_from_elsewhere(server: Server) -> None:
    inside = await server.new_key(networks=["127.0.0.0/8"])
    outside = await server.new_key(networks=["192.0.2.0/24"])
    assert (await server.anonymous.get("/v1/models", headers={"X-API-Key": inside})).status_code == 200
    refused = await server.anonymous.get(
        "/v1/models", headers={"X-API-Key": outside, "X-Forwarded-For": "192.0.2.1"}
    )
    assert refused.status_code == 403
    assert error_of(refused)["code"] == "network_not_allowed"


async def test_a_key_sees_and_uses_its_own_models_only(server: Server) -> None:
    headers = {"X-API-Key": await server.new_key(allowed_models=["another"])}
    get, post = server.anonymous.get, server.anonymous.post
    assert (await get("/v1/models", headers=headers)).json()["data"] == []
    assert (await get("/api/v1/models", headers=headers)).json()["models"] == []
    assert (await get("/v1/models/fake-model", headers=headers)).status_code == 404
    for body in ({"prompt": "x"}, {"prompt": "x", "model": "fake-model"}):
        refused = await post("/api/v1/chat", headers=headers, json=body)
        assert refused.status_code == 404
        assert error_of(refused)["code"] == "model_not_found"
        assert error_of(refused)["param"] == "model"
    headers = {"X-API-Key": await server.new_key(allowed_models=["fake-alias"], default_model="fake-alias")}
    assert (await post("/api/v1/chat", headers=headers, json={"prompt": "x"})).status_code == 200


async def test_waiting_requests_take_turns_by_key_or_by_the_users_of_a_trusted_key(server: Server) -> None:
    ordinary, trusted = await server.new_key(), await server.new_key(fair_by_user=True)
    for key in (ordinary, trusted):
        for user in (None, "a", "b"):
            body = {"prompt": "x", "user": user}
            await server.anonymous.post("/api/v1/chat", headers={"X-API-Key": key}, json=body)
    one, two = ordinary.split("_")[1], trusted.split("_")[1]
    keys = [request.fairness_key for request in server.engine.requests]
    assert keys == [one, one, one, two, f"{two}/a", f"{two}/b"]


async def test_the_header_for_keys_has_the_name_that_the_operator_gives_it() -> None:
    async with temporary_access() as usual:
        access = access_over(usual.database, Settings.load({"API_KEY_HEADER": "X-Neo-Key"}))
        application = create_application(make_context(FakeEngine(), LIMITS, access))
        async with listening(application) as port:
            for headers, status in (
                ({"X-Neo-Key": str(KEY)}, 200),
                ({"Authorization": f"Bearer {KEY}"}, 200),
                ({"X-API-Key": str(KEY)}, 401),
            ):
                url = f"http://127.0.0.1:{port}"
                async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
                    assert (await client.get("/v1/models")).status_code == status
