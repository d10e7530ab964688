"""A page on which people chat with the bot in a browser, as they would in Telegram. It is for trying out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.datastructures import UploadFile
from tests.emulators.telegram.app import BotApi
from tests.emulators.telegram.texts import MAX_TEXT, units
from tests.emulators.telegram.world import Person, Shown, World

PAGE = Path(__file__).with_name("page.html")
LOOK_SECONDS = 0.1
MAX_UPLOAD = 50_000_000
TYPING_SECONDS = 5.0


class Watch:
    """What somebody who looks at a chat has seen."""

    def __init__(self, api: BotApi, chat_id: int) -> None:
        self._api = api
        self._chat_id = chat_id
        self._seen = 0
        self._online: object = None

    def news(self) -> list[dict[str, Any]]:
        """What has changed since the last time; at first, everything."""
        world = self._api.world
        found: list[dict[str, Any]] = []
        online = {"online": bool(self._api.calls), "commands": world.commands}
        if online != self._online:
            self._online = json.loads(json.dumps(online))
            found.append(online)
        fresh, self._seen = world.transcript[self._seen :], len(world.transcript)
        changed: dict[int, None] = {}
        for line in (line for line in fresh if line.chat_id == self._chat_id):
            if line.what == "hint":
                found.append({"hint": line.text})
            elif line.what == "typing":
                found.append({"typing": world.clock() - line.at < TYPING_SECONDS})
            elif line.message_id is not None:
                changed[line.message_id] = None
        found += [{"message": view(world, world.messages[self._chat_id, number])} for number in changed]
        return found


def view(world: World, shown: Shown) -> dict[str, Any]:
    """A message as the page gets it."""
    return world.view(shown) | {"deleted": shown.deleted, "edited": len(shown.versions) > 1}


class Desk:
    """Where the page's calls end."""

    def __init__(self, api: BotApi) -> None:
        self._api = api

    async def page(self) -> FileResponse:
        """The page itself."""
        return FileResponse(PAGE, headers={"content-security-policy": _POLICY})

    async def world(self) -> dict[str, Any]:
        """Who there is, and where."""
        world = self._api.world
        people = [person.user() for person in world.people.values()]
        chats = [chat.fields() for chat in world.chats.values()]
        return {"people": people, "chats": chats, "commands": world.commands, "bot": world.bot}

    async def events(self, chat: int, request: Request) -> StreamingResponse:
        """What happens in a chat, as server-sent events."""

        async def stream() -> AsyncIterator[str]:
            watch = Watch(self._api, chat)
            yield ": here\n\n"
            while not await request.is_disconnected():
                for news in watch.news():
                    yield f"data: {json.dumps(news)}\n\n"
                await asyncio.sleep(LOOK_SECONDS)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def say(self, request: Request) -> Response:
        """Somebody writes."""
        fields = await request.json()
        person, chat_id = self._who(fields)
        # As Telegram's own programs do it: what is too long for one message becomes several.
        for piece in _pieces(str(fields["text"])):
            self._api.world.say(person, chat_id, text=piece)
        return self._announced()

    async def press(self, request: Request) -> Response:
        """Somebody presses a button."""
        fields = await request.json()
        person, chat_id = self._who(fields)
        if (chat_id, fields["message_id"]) not in self._api.world.messages:
            raise HTTPException(404)
        self._api.world.press(person, chat_id, fields["message_id"], str(fields["data"]))
        return self._announced()

    async def upload(self, request: Request) -> Response:
        """Somebody sends a file."""
        async with request.form() as form:
            person, chat_id = self._who({name: int(str(form[name])) for name in ("person", "chat")})
            file, caption = form["file"], str(form.get("caption", ""))
            if not isinstance(file, UploadFile) or (file.size or 0) > MAX_UPLOAD:
                raise HTTPException(413)
            sort = (file.content_type or "").partition("/")[0]
            kind = {"image": "photo", "audio": "voice"}.get(sort, "document")
            stored = self._api.world.files.add(kind, file.filename or "file", await file.read())
        written = {"caption": caption} if caption else {}
        self._api.world.say(person, chat_id, **stored.fields(), **written)
        return self._announced()

    async def download(self, file_id: str) -> Response:
        """A file of a message."""
        file = self._api.world.files.by_id.get(file_id)
        if file is None:
            raise HTTPException(404)
        # Whatever it is, it is not shown here: it was written by others.
        return Response(file.content, media_type="application/octet-stream")

    def _who(self, fields: dict[str, Any]) -> tuple[Person, int]:
        world = self._api.world
        person, chat_id = world.people.get(fields["person"]), int(fields["chat"])
        if person is None or chat_id not in world.chats:
            raise HTTPException(404)
        return person, chat_id

    def _announced(self) -> Response:
        self._api.delivery.announce()
        return Response(status_code=204)


def add_page(app: FastAPI, api: BotApi) -> None:
    """The page, and what it calls."""
    desk = Desk(api)
    app.add_api_route("/", desk.page, response_model=None)
    app.add_api_route("/chat/world", desk.world)
    app.add_api_route("/chat/events", desk.events, response_model=None)
    app.add_api_route("/chat/files/{file_id}", desk.download, response_model=None)
    for path, deed in (("say", desk.say), ("press", desk.press), ("upload", desk.upload)):
        app.add_api_route(f"/chat/{path}", deed, methods=["POST"], response_model=None)


_POLICY = "; ".join(
    (
        "default-src 'none'",
        "connect-src 'self'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        "script-src 'unsafe-inline'",
    )
)


def _pieces(text: str) -> list[str]:
    pieces = [""]
    for character in text:
        if units(pieces[-1] + character) > MAX_TEXT:
            pieces.append("")
        pieces[-1] += character
    return pieces
