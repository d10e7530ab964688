"""The door of the suite, by a real nginx: who is let in, what services are told, and what strangers see."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager

import httpx
import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from nginx_server import NginxServer
from servers import HOST

NOWHERE = "127.0.0.1:9"


class Upstream:
    """Stands for all three services: tells what it was told."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.application = Starlette(
            routes=[
                WebSocketRoute("/ws/chat", self.chat),
                Route("/v1/stream", self.stream),
                Route("/v1/busy", self.busy),
                Route("/{path:path}", self.tell, methods=["GET", "POST"]),
            ]
        )

    async def tell(self, request: Request) -> Response:
        size = len(await request.body())
        return JSONResponse({"path": request.url.path, "headers": dict(request.headers), "size": size})

    async def busy(self, request: Request) -> Response:
        return JSONResponse({"error": "ours"}, 503, {"retry-after": "7"})

    async def stream(self, request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await self.released.wait()
            yield b"data: last\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def chat(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"you said {await socket.receive_text()}")
        await socket.close()


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    upstream = Upstream()
    server = uvicorn.Server(uvicorn.Config(upstream.application, log_level="critical", lifespan="off"))
    with socket.create_server((HOST, 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield upstream, f"{HOST}:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@contextmanager
def in_front_of(address: str, **changed: str) -> Iterator[NginxServer]:
    names = ("AI_CORE_UPSTREAM", "TELEGRAM_UPSTREAM", "MAIL_UPSTREAM")
    with closing(NginxServer(dict.fromkeys(names, address), **changed)) as server:
        server.start()
        yield server


@pytest.fixture
def nginx(upstream: tuple[Upstream, str]) -> Iterator[NginxServer]:
    with in_front_of(upstream[1]) as server:
        yield server


@pytest.fixture
async def client(nginx: NginxServer) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(nginx) as client:
        yield client


def client_of(nginx: NginxServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=nginx.tls(), transport=_Domains(nginx), trust_env=False)


class _Domains(httpx.AsyncHTTPTransport):
    """Takes every domain to the nginx under test, with the name in TLS and in Host."""

    def __init__(self, nginx: NginxServer) -> None:
        super().__init__(verify=nginx.tls(), trust_env=False)
        self._nginx = nginx

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        domain, port = request.url.host, self._nginx.https_port
        if request.url.scheme == "http":
            port = self._nginx.port
        request.headers["host"] = domain
        request.extensions["sni_hostname"] = domain
        request.url = request.url.copy_with(host=HOST, port=port)
        return await super().handle_async_request(request)


async def test_a_service_is_told_the_real_address_whatever_a_client_claims(client: httpx.AsyncClient) -> None:
    claims = {"x-forwarded-for": "6.6.6.6", "x-real-ip": "6.6.6.6", "forwarded": "for=6.6.6.6"}
    told = (await client.post("https://ai.test/api/v1/chat", headers=claims, json={})).json()["headers"]
    assert told["x-forwarded-for"] == told["x-real-ip"] == "127.0.0.1"
    assert "6.6.6.6" not in json.dumps(told)
    assert told["x-forwarded-proto"] == "https"
    assert told["host"] == "ai.test"


async def test_a_cdn_is_believed_from_its_own_networks_alone(upstream: tuple[Upstream, str]) -> None:
    for ranges, expected in (("127.0.0.0/8 2400:cb00::/32", "6.6.6.6"), ("10.0.0.0/8", "127.0.0.1")):
        settings = {"CDN_TRUSTED_RANGES": ranges, "CDN_ADDRESS_HEADER": "CF-Connecting-IP"}
        with in_front_of(upstream[1], **settings) as nginx:
            async with client_of(nginx) as client:
                headers = {"cf-connecting-ip": "6.6.6.6"}
                answer = await client.get("https://ai.test/v1/models", headers=headers)
        assert answer.json()["headers"]["x-forwarded-for"] == expected


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
    assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


async def test_tokens_pass_as_they_are_written(
    client: httpx.AsyncClient, upstream: tuple[Upstream, str]
) -> None:
    async with client.stream("GET", "https://ai.test/v1/stream") as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"data: first\n\n"
        upstream[0].released.set()
        assert b"".join([chunk async for chunk in chunks]) == b"data: last\n\n"


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


def _handshake(nginx: NginxServer, domain: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection((HOST, nginx.https_port))
    try:
        return context.wrap_socket(plain, server_hostname=domain)
    except BaseException:
        plain.close()
        raise


def test_http_2_is_spoken(nginx: NginxServer) -> None:
    context = nginx.tls()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with _handshake(nginx, "ai.test", context) as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_a_name_that_is_not_ours_is_shown_no_certificate(nginx: NginxServer) -> None:
    context = nginx.tls()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        _handshake(nginx, "else.test", context)


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        (["-tls1"], False),
        (["-tls1_1"], False),
        (["-tls1_2"], True),
        (["-tls1_3"], True),
        (["-tls1_2", "-cipher", "AES128-SHA"], False),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], False),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], True),
        (["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"], False),
    ],
)
def test_only_sound_tls_is_spoken(nginx: NginxServer, options: list[str], accepted: bool) -> None:
    address = ["-connect", f"{HOST}:{nginx.https_port}", "-servername", "ai.test"]
    authority = ["-verify_return_error", "-CAfile", str(nginx.folder / "authority.pem")]
    # @SECLEVEL=0: this client would not even offer what it is to offer.
    weak = [] if "-cipher" in options or "-tls1_3" in options else ["-cipher", "ALL@SECLEVEL=0"]
    done = subprocess.run(
        ["openssl", "s_client", *address, *authority, *options, *weak],
        input=b"",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode == 0) is accepted, done.stdout.decode()


async def test_one_address_cannot_take_everything(upstream: tuple[Upstream, str]) -> None:
    with in_front_of(upstream[1], NGINX_REQUESTS_PER_SECOND="1", NGINX_BURST="3") as nginx:
        async with client_of(nginx) as client:
            answers = [await client.get("https://ai.test/v1/models") for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert answers[0].status_code == 200
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"


async def test_what_is_too_large_is_refused_but_a_recording_may_be_larger(client: httpx.AsyncClient) -> None:
    body = b"x" * (3 * 1024 * 1024)
    answer = await client.post("https://ai.test/api/v1/chat", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    heard = await client.post("https://ai.test/v1/audio/transcriptions", content=body)
    assert heard.json()["size"] == len(body)


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
    answer = await client.get("https://ai.test/v1/models")
    page = await client.get("https://ai.test/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "maintenance")
    assert (page.status_code, "maintenance" in page.text) == (503, True)
    assert (await client.post("https://telegram.test/api/v1/webhooks/telegram")).status_code == 200


async def test_the_log_is_json_and_holds_no_query(client: httpx.AsyncClient, nginx: NginxServer) -> None:
    await client.get(
        "https://ai.test/v1/models?q=confidentiel", headers={"referer": "https://x/?confidentiel"}
    )
    nginx.stop()
    text = (nginx.folder / "access.log").read_text()
    (line,) = map(json.loads, text.splitlines())
    assert (line["path"], line["status"], line["host"]) == ("/v1/models", 200, "ai.test")
    assert "confidentiel" not in text
