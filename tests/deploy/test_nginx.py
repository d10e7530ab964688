"""The door of the suite, by a real nginx: who is let in, what services are told, and what strangers see."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import httpx
import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ai_core.config import Settings
from nginx_server import SOURCE, NginxServer, client_of, in_front_of
from servers import HOST

NOWHERE = "127.0.0.1:9"
PATIENCE = 20.0
PART, PARTS, UPLOADS = b"x" * (1024 * 1024), 4, 8
OPENAPI = Path(__file__).resolve().parent.parent.parent / "services" / "ai-core" / "openapi.json"
PROXY, READ_TIMEOUT = "snippets/proxy.conf", re.compile(r"proxy_read_timeout (\d+)s;")
OPERATORS = ("/api/v1/admin/", "/api/v1/metrics", "/api/v1/health", "/api/v1/models/load")
OPERATORS_TOO = ("/api/v1/models/unload", "/api/v1/models/pull")


class Upstream:
    """Stands for all three services, in a thread of its own: tells what it was told."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.taken = 0
        """Bytes of all bodies."""
        application = Starlette(
            routes=[
                WebSocketRoute("/ws/chat", self.chat),
                Route("/v1/stream", self.stream),
                Route("/v1/busy", self.busy),
                Route("/{path:path}", self.tell, methods=["GET", "POST", "DELETE"]),
            ]
        )
        self._listener = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(application, log_level="critical", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    async def tell(self, request: Request) -> Response:
        if "x-refuse" in request.headers:
            return JSONResponse({"error": "no key"}, 401)
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            self.taken += len(chunk)
        return JSONResponse({"path": request.url.path, "headers": dict(request.headers), "size": size})

    async def busy(self, request: Request) -> Response:
        return JSONResponse({"error": "ours"}, 503, {"retry-after": "7"})

    async def stream(self, request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await asyncio.to_thread(self.released.wait)
            yield b"data: last\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def chat(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"you said {await socket.receive_text()}")
        await socket.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with closing(Upstream()) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def nginx(upstream: Upstream) -> Iterator[NginxServer]:
    with in_front_of(upstream.address) as server:
        yield server


@pytest.fixture
async def client(nginx: NginxServer) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(nginx) as client:
        yield client


async def test_a_service_is_told_the_real_address_whatever_a_client_claims(client: httpx.AsyncClient) -> None:
    claims = {"x-forwarded-for": "6.6.6.6", "x-real-ip": "6.6.6.6", "forwarded": "for=6.6.6.6"}
    told = (await client.post("https://ai.test/api/v1/chat", headers=claims, json={})).json()["headers"]
    assert told["x-forwarded-for"] == told["x-real-ip"] == "127.0.0.1"
    assert "6.6.6.6" not in json.dumps(told)
    assert told["x-forwarded-proto"] == "https"
    assert told["host"] == "ai.test"


async def test_a_cdn_is_believed_from_its_own_networks_alone(upstream: Upstream) -> None:
    for ranges, expected in (("127.0.0.0/8 2400:cb00::/32", "6.6.6.6"), ("10.0.0.0/8", "127.0.0.1")):
        settings = {"CDN_TRUSTED_RANGES": ranges, "CDN_ADDRESS_HEADER": "CF-Connecting-IP"}
        with in_front_of(upstream.address, **settings) as nginx:
            async with client_of(nginx) as client:
                headers = {"cf-connecting-ip": "6.6.6.6"}
                answer = await client.get("https://ai.test/v1/models", headers=headers)
        assert answer.json()["headers"]["x-forwarded-for"] == expected


async def test_behind_a_cdn_the_nearest_stranger_counts_and_not_what_is_claimed_before(
    upstream: Upstream,
) -> None:
    with in_front_of(upstream.address, CDN_TRUSTED_RANGES="127.0.0.0/8,9.9.9.0/24") as nginx:
        async with client_of(nginx) as client:
            headers = {"x-forwarded-for": "1.1.1.1, 6.6.6.6, 9.9.9.9"}
            answer = await client.get("https://ai.test/v1/models", headers=headers)
    assert answer.json()["headers"]["x-forwarded-for"] == "6.6.6.6"


async def test_each_message_from_telegram_reaches_the_telegram_service(upstream: Upstream) -> None:
    with in_front_of(NOWHERE, TELEGRAM_UPSTREAM=upstream.address) as nginx:
        async with client_of(nginx) as client:
            for domain in ("ai.test", "telegram.test"):
                answer = await client.post(f"https://{domain}/api/v1/webhooks/telegram", json={})
                assert answer.json()["path"] == "/api/v1/webhooks/telegram"
            assert (await client.post("https://ai.test/api/v1/chat", json={})).status_code == 503


async def test_a_server_for_one_service_opens_the_door_for_that_alone(upstream: Upstream) -> None:
    with in_front_of(upstream.address, NGINX_SITES="telegram") as nginx:
        async with client_of(nginx) as client:
            assert (await client.get("https://telegram.test/livez")).status_code == 200
            # Its connection is open, and the same client asks through it for another name.
            assert (await client.get("https://ai.test/livez")).status_code == 421
        for domain in ("ai.test", "mail.test"):
            async with client_of(nginx) as client:
                with pytest.raises(httpx.ConnectError):
                    await client.get(f"https://{domain}/livez")


@pytest.mark.parametrize("ranges", ["10.0.0.0/8; } evil", "all", "10.0.0.0/8\n$x"])
def test_what_is_no_network_stops_the_start(ranges: str) -> None:
    with pytest.raises(subprocess.CalledProcessError), in_front_of(NOWHERE, CDN_TRUSTED_RANGES=ranges):
        pass


@pytest.mark.parametrize(
    "address",
    [
        "https://ai.test/metrics",
        "https://ai.test/api/v1/metrics",
        "https://ai.test/api/v1/admin/keys",
        "https://ai.test/api/v1/admin/models/reload",
        "https://ai.test/api/v1//admin/keys",
        "https://ai.test/api/v1/%61dmin/keys",
        "https://ai.test/api/v1/x/../admin/keys",
        "https://ai.test/docs",
        "https://ai.test/docs/x",
        "https://ai.test/openapi.json",
        "https://ai.test/api/v1/models/pull",
        "https://ai.test/nginx-status",
        "https://ai.test/",
        "https://telegram.test/metrics",
        "https://telegram.test/health",
        "https://telegram.test/api/v1/chat",
        "https://mail.test/metrics",
        "https://mail.test/admin/queue",
        "https://mail.test/health",
    ],
)
async def test_what_is_for_operators_is_not_there_for_strangers(
    client: httpx.AsyncClient, address: str
) -> None:
    answer = await client.get(address)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "address",
    [
        "https://ai.test/api/v1/chat",
        "https://ai.test/v1/chat/completions",
        "https://ai.test/api/v1/models",
        "https://ai.test/api/v1/models/neo-demo",
        "https://ai.test/livez",
        "https://ai.test/readyz",
        "https://ai.test/api/v1/webhooks/telegram",
        "https://telegram.test/api/v1/webhooks/telegram",
        "https://telegram.test/livez",
        "https://mail.test/livez",
    ],
)
async def test_what_is_public_arrives(client: httpx.AsyncClient, address: str) -> None:
    answer = await client.get(address + "?secret=1")
    assert answer.status_code == 200
    assert address.endswith(answer.json()["path"])
    assert answer.headers["strict-transport-security"] == "max-age=63072000"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


async def test_of_the_ai_core_all_is_public_but_what_operators_do(client: httpx.AsyncClient) -> None:
    routes = json.loads(OPENAPI.read_text())["paths"]
    for path, methods in routes.items():
        for method in methods:
            answer = await client.request(
                method.upper(), f"https://ai.test{path.replace('{', '').replace('}', '')}"
            )
            changes_models = path.startswith("/api/v1/models/") and method != "get"
            hidden = path.startswith((*OPERATORS, *OPERATORS_TOO)) or changes_models
            assert answer.status_code == (404 if hidden else 200), (method, path)


async def test_tokens_pass_as_they_are_written(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.released.clear()
    async with client.stream("GET", "https://ai.test/v1/stream") as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"data: first\n\n"
        upstream.released.set()
        assert b"".join([chunk async for chunk in chunks]) == b"data: last\n\n"


def test_nginx_waits_for_a_silent_service_longer_than_the_core_lets_anybody_wait() -> None:
    fields = Settings.model_fields
    longest = max(float(fields[name].default) for name in ("request_timeout", "transcription_timeout"))
    assert float(READ_TIMEOUT.findall((SOURCE / PROXY).read_text())[0]) > longest


async def test_a_stream_that_falls_silent_for_longer_than_that_ends(upstream: Upstream) -> None:
    """Shortened: whoever waits learns that nothing comes, and its connection is free again."""
    upstream.released.clear()
    addresses = dict.fromkeys(("AI_CORE_UPSTREAM", "TELEGRAM_UPSTREAM", "MAIL_UPSTREAM"), upstream.address)
    with closing(NginxServer(addresses)) as nginx:
        written = (nginx.folder / PROXY).read_text()
        (nginx.folder / PROXY).write_text(READ_TIMEOUT.sub("proxy_read_timeout 1s;", written))
        nginx.start()
        async with client_of(nginx) as client, client.stream("GET", "https://ai.test/v1/stream") as answer:
            chunks = answer.aiter_raw()
            assert await anext(chunks) == b"data: first\n\n"
            with pytest.raises(httpx.RemoteProtocolError):
                await asyncio.wait_for(anext(chunks), PATIENCE)
    upstream.released.set()


async def test_a_websocket_passes(nginx: NginxServer) -> None:
    with socket.create_connection((HOST, nginx.https_port)) as connection:
        async with websockets.connect("wss://ai.test/ws/chat", sock=connection, ssl=nginx.tls()) as chat:
            await chat.send("bonjour")
            assert await chat.recv() == "you said bonjour"


async def test_http_leads_to_https_but_for_certificates(
    client: httpx.AsyncClient, nginx: NginxServer
) -> None:
    answer = await client.get("http://ai.test/v1/models?x=1")
    assert (answer.status_code, answer.headers["location"]) == (301, "https://ai.test/v1/models?x=1")
    challenge = nginx.acme / ".well-known" / "acme-challenge" / "token"
    challenge.parent.mkdir(parents=True)
    challenge.write_text("token.thumbprint")
    assert (await client.get("http://ai.test/.well-known/acme-challenge/token")).text == "token.thumbprint"


async def test_one_address_cannot_take_everything(upstream: Upstream) -> None:
    with in_front_of(upstream.address, NGINX_REQUESTS_PER_SECOND="1", NGINX_BURST="3") as nginx:
        async with client_of(nginx) as client:
            answers = [await client.get("https://ai.test/v1/models") for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert answers[0].status_code == 200
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"


async def test_who_sends_too_much_keeps_nobody_else_out(upstream: Upstream) -> None:
    limits = {"NGINX_REQUESTS_PER_SECOND": "1", "NGINX_BURST": "1", "CDN_TRUSTED_RANGES": "127.0.0.0/8"}
    with in_front_of(upstream.address, **limits) as nginx:
        async with client_of(nginx) as client:
            loud, quiet = {"x-forwarded-for": "6.6.6.6"}, {"x-forwarded-for": "7.7.7.7"}
            answers = [await client.get("https://ai.test/v1/models", headers=loud) for _ in range(6)]
            other = await client.get("https://ai.test/v1/models", headers=quiet)
    assert answers[-1].status_code == 429
    assert other.status_code == 200


async def test_one_address_cannot_hold_every_connection(upstream: Upstream) -> None:
    upstream.released.clear()
    with in_front_of(upstream.address, NGINX_CONNECTIONS_PER_ADDRESS="2") as nginx:
        async with client_of(nginx) as client, AsyncExitStack() as stack:
            for _ in range(2):
                answer = client.stream("GET", "https://ai.test/v1/stream")
                assert (await stack.enter_async_context(answer)).status_code == 200
            assert (await client.get("https://ai.test/v1/models")).status_code == 429
            upstream.released.set()
        async with client_of(nginx) as client:
            await _until_let_in(client)


async def _until_let_in(client: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + PATIENCE
    while (await client.get("https://ai.test/v1/models")).status_code != 200:
        assert time.monotonic() < deadline


async def test_what_is_too_large_is_refused_but_a_recording_may_be_larger(client: httpx.AsyncClient) -> None:
    body = b"x" * (3 * 1024 * 1024)
    answer = await client.post("https://ai.test/api/v1/chat", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    heard = await client.post("https://ai.test/v1/audio/transcriptions", content=body)
    assert heard.json()["size"] == len(body)


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/api/v1/batches"])
async def test_many_large_uploads_at_once_take_no_space_at_the_door(
    client: httpx.AsyncClient, nginx: NginxServer, upstream: Upstream, path: str
) -> None:
    """What nginx keeps of a body lies in memory, and half a dozen strangers would fill it."""
    before, seen, together = upstream.taken, asyncio.Event(), len(PART) * PARTS * UPLOADS

    async def recording() -> AsyncIterator[bytes]:
        for _ in range(PARTS):
            yield PART
        # The end comes only when all that was sent has reached the service.
        await seen.wait()
        yield b"."

    uploads = [client.post(f"https://ai.test{path}", content=recording()) for _ in range(UPLOADS)]
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(upload) for upload in uploads]
        deadline = time.monotonic() + PATIENCE
        while upstream.taken - before < together:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        kept = [path for path in nginx.bodies.rglob("*") if path.is_file()]
        seen.set()
    assert {answer.result().json()["size"] for answer in answers} == {len(PART) * PARTS + 1}
    assert kept == []


async def test_who_may_not_upload_hears_why_and_not_that_the_service_is_away(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(10):
        refused = await client.post(
            "https://ai.test/v1/audio/transcriptions", content=PART * 20, headers={"x-refuse": "1"}
        )
        assert (refused.status_code, refused.json()) == (401, {"error": "no key"})


async def test_a_service_that_is_away_is_told_as_such() -> None:
    with in_front_of(NOWHERE) as nginx:
        async with client_of(nginx) as client:
            answer = await client.post("https://ai.test/api/v1/chat", json={})
            page = await client.get("https://ai.test/api/v1/chat", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"]["code"] == "service_unavailable"
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html")
    assert "Nous revenons dans un instant" in page.text


async def test_what_a_service_itself_says_when_it_is_busy_passes(client: httpx.AsyncClient) -> None:
    answer = await client.get("https://ai.test/v1/busy")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.json() == {"error": "ours"}


async def test_during_maintenance_people_see_a_page_and_telegram_still_gets_through(
    client: httpx.AsyncClient, nginx: NginxServer
) -> None:
    nginx.maintenance.touch()
    nginx.maintenance.chmod(0o644)
    try:
        answer = await client.get("https://ai.test/v1/models")
        page = await client.get("https://ai.test/", headers={"accept": "text/html"})
        webhook = await client.post("https://telegram.test/api/v1/webhooks/telegram")
    finally:
        nginx.maintenance.unlink()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "maintenance")
    assert (page.status_code, "maintenance" in page.text) == (503, True)
    assert webhook.status_code == 200
    assert (await client.get("https://ai.test/v1/models")).status_code == 200


async def test_the_log_is_json_and_holds_no_query(client: httpx.AsyncClient, nginx: NginxServer) -> None:
    path = "/v1/models/of-the-log"
    await client.get(f"https://ai.test{path}?q=confidentiel", headers={"referer": "https://x/?confidentiel"})
    deadline = time.monotonic() + PATIENCE
    # A line is written when its answer has gone.
    while path not in (text := nginx.access_log.read_text()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    (line,) = (line for line in map(json.loads, text.splitlines()) if line["path"] == path)
    assert (line["status"], line["host"], line["client"]) == (200, "ai.test", "127.0.0.1")
    assert "confidentiel" not in text


async def test_the_log_of_errors_holds_no_query_and_no_address_of_a_page(upstream: Upstream) -> None:
    """Of what is refused, of what is too large, and of a service that is away."""
    limits = {"NGINX_REQUESTS_PER_SECOND": "1", "NGINX_BURST": "4", "NGINX_CONNECTIONS_PER_ADDRESS": "1"}
    with in_front_of(NOWHERE, TELEGRAM_UPSTREAM=upstream.address, **limits) as nginx:
        async with client_of(nginx) as client:
            client.headers["referer"] = "https://x/?confidentiel"
            models = "https://ai.test/v1/models?q=confidentiel"
            webhook = "https://telegram.test/api/v1/webhooks/telegram?q=confidentiel"
            large = await client.post(models, content=b"x" * 3_000_000)
            away = await client.get(models)
            refused = [await client.get(models) for _ in range(6)]
            kept = await client.post(webhook, content=b"x" * 500_000)
        logged = nginx.error_log.read_text()
    assert (large.status_code, away.status_code, refused[-1].status_code) == (413, 503, 429)
    assert kept.status_code == 200
    assert "confidentiel" not in logged


@pytest.mark.parametrize("path", ["/nginx-status", "/nginx-alive"])
async def test_what_nginx_counts_is_for_nobody(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"http://ai.test{path}")).status_code == 301
