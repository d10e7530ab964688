"""Telegram's Bot API as a web application, as far as our bot uses it, and as strict as the documents say.

It refuses what the original refuses, with the original's words, and keeps a transcript of what people in its
chats would have seen. Source of everything in this folder: https://core.telegram.org/bots/api and
https://core.telegram.org/bots/faq (limits).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from tests.emulators.telegram import refusal
from tests.emulators.telegram.delivery import Delivery
from tests.emulators.telegram.refusal import Refusal
from tests.emulators.telegram.world import World

Method = Callable[[dict[str, Any]], Awaitable[Any]]
Meddle = Callable[[str, dict[str, Any]], Awaitable[str]]
"""Called with each call's method and fields; returns ``""``: nothing happens, ``"before"``: the call is
lost on its way, ``"after"``: it is carried out and its answer is lost, ``"503"``: refused for a while."""
_JSON_FIELDS = {"entities", "reply_markup", "allowed_updates", "commands", "scope", "link_preview_options"}


async def leave_alone(_method: str, _fields: dict[str, Any]) -> str:
    return ""


class BotApi:
    """The methods that are served, for one token."""

    def __init__(self, world: World, delivery: Delivery, token: str, meddle: Meddle = leave_alone) -> None:
        self.world = world
        self.delivery = delivery
        self.token = token
        self.meddle = meddle
        self.calls: list[str] = []

    async def call(self, method: str, fields: dict[str, Any], files: dict[str, tuple[str, bytes]]) -> Any:
        """The result of a call. Raises Refusal."""
        world, delivery = self.world, self.delivery
        if method.lower() == "getupdates":
            return await delivery.poll(fields)
        methods: dict[str, Callable[[], Any]] = {
            "getme": lambda: world.bot,
            "sendmessage": lambda: world.send(fields),
            "senddocument": lambda: world.send(fields, document=_document(files)),
            "editmessagetext": lambda: world.edit(fields, text_too=True),
            "editmessagereplymarkup": lambda: world.edit(fields, text_too=False),
            "deletemessage": lambda: world.delete(fields),
            "sendchataction": lambda: world.act(fields),
            "answercallbackquery": lambda: world.answer_query(fields),
            "setmycommands": lambda: world.list_commands(fields),
            "getfile": lambda: world.files.address(str(fields.get("file_id"))),
            "setwebhook": lambda: delivery.set_webhook(fields),
            "deletewebhook": lambda: delivery.set_webhook(fields | {"url": ""}),
            "getwebhookinfo": delivery.info,
        }
        if method.lower() not in methods:
            raise refusal.NO_METHOD
        return methods[method.lower()]()


def create_emulator(api: BotApi) -> FastAPI:
    """The application. Text of the original's answers wherever a test might look."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await api.delivery.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/bot{token}/{method}", methods=["GET", "POST"])
    async def bot_api(token: str, method: str, request: Request) -> Response:
        return await _answered(_call(api, token, method, request))

    @app.get("/file/bot{token}/{path:path}")
    async def download(token: str, path: str) -> Response:
        return await _answered(_download(api, token, path))

    return app


async def _answered(work: Awaitable[Response]) -> Response:
    try:
        return await work
    except Refusal as refused:
        return JSONResponse(refused.body(), refused.status)


async def _call(api: BotApi, token: str, method: str, request: Request) -> Response:
    if token != api.token:
        raise refusal.UNAUTHORIZED
    fields, files = await _read(request)
    api.calls.append(method)
    fate = await api.meddle(method, fields)
    if fate == "before":
        return _Cut()
    if fate == "503":
        raise Refusal(503, "Service Unavailable")
    result = await api.call(method, fields, files)
    return _Cut() if fate == "after" else JSONResponse({"ok": True, "result": result})


async def _download(api: BotApi, token: str, path: str) -> Response:
    if token != api.token:
        raise refusal.UNAUTHORIZED
    fate = await api.meddle("download", {"path": path})
    if fate == "503":
        raise Refusal(503, "Service Unavailable")
    content = api.world.files.download(path)
    return Response(content, media_type="application/octet-stream") if not fate else _Cut()


class _Cut(Response):
    """An answer that never comes: the connection ends in the middle of its headers' promise."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise ConnectionAbortedError


async def _read(request: Request) -> tuple[dict[str, Any], dict[str, tuple[str, bytes]]]:
    fields: dict[str, Any] = dict(request.query_params)
    files: dict[str, tuple[str, bytes]] = {}
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json"):
        try:
            fields |= await request.json()
        except ValueError:
            raise refusal.bad_request("can't parse JSON object") from None
    elif kind:
        async with request.form() as form:
            for name, value in form.items():
                if isinstance(value, UploadFile):
                    files[name] = (value.filename or "", await value.read())
                else:
                    fields[name] = value
    return {name: _value(name, value) for name, value in fields.items()}, files


def _value(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name in _JSON_FIELDS:
        try:
            return json.loads(value)
        except ValueError:
            raise refusal.bad_request(f"can't parse {name} JSON object") from None
    if name in {"chat_id", "message_id", "message_thread_id", "offset", "timeout", "limit"}:
        try:
            return int(value)
        except ValueError:
            raise refusal.bad_request(f"invalid {name} specified") from None
    return value


def _document(files: dict[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    if not files:
        raise refusal.bad_request("there is no document in the request")
    return next(iter(files.values()))
