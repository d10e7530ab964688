"""One client of the chat socket: what it says, and its requests under way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from ai_core.api.chat_socket.frames import (
    AUTHENTICATED,
    PONG,
    Auth,
    Cancel,
    Chat,
    Frame,
    Ping,
    error_frame,
    id_in,
    parse_frame,
)
from ai_core.api.chat_socket.turn import Turn
from ai_core.api.chat_socket.visitor import Visitor
from ai_core.api.inner import InnerRequest
from ai_core.api.live_sockets import LiveSockets
from ai_core.errors import InvalidRequest, NeoError, Overloaded, Unauthorized

CHAT_PATH = "/api/v1/chat"
GOING_AWAY = 1001
POLICY_VIOLATION = 1008
CLOSE_SECONDS = 2.0


class Hangup(Exception):
    """The connection ends, with a code of RFC 6455, section 7.4, and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class Tally:
    """What the log says of a connection."""

    requests: int = 0
    code: int = 1005
    """Of RFC 6455: 1005, where the client gave none."""


class Connection:
    """Reads messages one by one; each request runs in a task of its own."""

    def __init__(self, socket: WebSocket, visitor: Visitor, door: ASGIApp, live: LiveSockets) -> None:
        self.tally = Tally()
        self._socket = socket
        self._visitor = visitor
        self._door = door
        self._live = live
        self._bounds = live.bounds
        self._turns: dict[str, Turn] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._speaking = asyncio.Lock()
        self._too_slow = asyncio.Event()

    async def serve(self) -> None:
        """Until one side ends it; then nothing of it goes on."""
        reading = asyncio.create_task(self._read())
        ends = [
            asyncio.create_task(self._leave_when_told()),
            asyncio.create_task(self._hang_up_on_slow_readers()),
        ]
        try:
            done, _ = await asyncio.wait({reading, *ends}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except Hangup as end:
            self.tally.code = end.code
            await self._close(end)
        except WebSocketDisconnect as gone:
            self.tally.code = gone.code
        finally:
            await self._stop([reading, *ends])

    async def _read(self) -> None:
        if not self._visitor.known:
            await self._authenticate()
        while True:
            await self._take(await self._next())

    async def _authenticate(self) -> None:
        try:
            async with asyncio.timeout(self._bounds.auth_seconds):
                frame = parse_frame(await self._text())
                if not isinstance(frame, Auth):
                    raise Unauthorized(
                        'The first message shows the key: {"type": "auth", "key": "…"}.',
                        code="missing_api_key",
                    )
                await self._visitor.show(frame.key)
        except TimeoutError:
            raise Hangup(POLICY_VIOLATION, "no key was shown in time") from None
        except NeoError as error:
            await self._say(error_frame(None, error))
            raise Hangup(POLICY_VIOLATION, "not authenticated") from error
        await self._say(AUTHENTICATED)

    async def _next(self) -> str:
        """The next message. Raises Hangup where nothing happens for too long."""
        while True:
            try:
                async with asyncio.timeout(self._bounds.idle_seconds):
                    return await self._text()
            except TimeoutError:
                if not self._turns:
                    raise Hangup(GOING_AWAY, "idle for too long") from None

    async def _text(self) -> str:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        # What came as bytes is no JSON object, and is told so.
        return message.get("text") or ""

    async def _take(self, text: str) -> None:
        try:
            await self._do(parse_frame(text))
        except NeoError as error:
            named = id_in(text)
            # The one that has this id already goes on: no error may seem to be its end.
            await self._say(error_frame(None if named in self._turns else named, error))

    async def _do(self, frame: Frame) -> None:
        match frame:
            case Chat():
                self._begin(frame)
            case Cancel():
                # One that comes too late has nothing to stop, and that is no mistake of the client's.
                if turn := self._turns.get(frame.id):
                    turn.cancel()
            case Auth():
                await self._visitor.show(frame.key)
                await self._say(AUTHENTICATED)
            case Ping():
                await self._say(PONG)

    def _begin(self, chat: Chat) -> None:
        if chat.id in self._turns:
            raise InvalidRequest(
                "'id' is that of a request which is still being answered here. Take another one.",
                code="id_in_use",
                parameter="id",
            )
        if len(self._turns) >= self._bounds.at_once:
            raise Overloaded(
                f"At most {self._bounds.at_once} requests are answered at once on one connection. Wait for "
                "one to end, or cancel one.",
                code="too_many_at_once",
                retry_after=1.0,
            )
        request = InnerRequest(
            path=CHAT_PATH,
            body=chat.body,
            headers=self._visitor.headers,
            client=self._visitor.client,
            facts={"transport": "websocket"},
        )
        turn = Turn(chat.id, request, self._say)
        self._turns[chat.id] = turn
        self.tally.requests += 1
        task = asyncio.create_task(self._run(chat.id, turn))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, id: str, turn: Turn) -> None:
        try:
            await turn.run(self._door)
        finally:
            del self._turns[id]
            if not self._turns:
                self._idle.set()

    async def _say(self, text: str) -> None:
        """Send one message. Where the client does not take it in time, the connection ends."""
        try:
            async with asyncio.timeout(self._bounds.send_seconds), self._speaking:
                await self._socket.send_text(text)
        except TimeoutError:
            self._too_slow.set()
            # Whoever speaks is about to be cancelled, and has nothing more to say.
            await asyncio.Event().wait()
        except (WebSocketDisconnect, RuntimeError):
            # Whoever reads from this client learns of it as well, and ends the connection.
            return

    async def _leave_when_told(self) -> None:
        await self._live.leaving.wait()
        while self._turns:
            self._idle.clear()
            await self._idle.wait()
        raise Hangup(GOING_AWAY, "this server is shutting down")

    async def _hang_up_on_slow_readers(self) -> None:
        await self._too_slow.wait()
        raise Hangup(POLICY_VIOLATION, "messages were not read in time")

    async def _close(self, end: Hangup) -> None:
        with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(end.code, end.reason)

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for turn in self._turns.values():
            turn.cancel()
        # A turn that is stopped in the middle of a message would wait for its reader.
        for task in [*tasks, *self._tasks]:
            task.cancel()
        await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)
