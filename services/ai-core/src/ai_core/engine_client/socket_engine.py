"""The connection to one engine process."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from ai_core.engine.messages import (
    Accepted,
    AdapterFile,
    AdapterReply,
    Cancel,
    Failed,
    FrameReader,
    FromEngine,
    Heartbeat,
    LoadAdapter,
    LoadFailed,
    Loading,
    Message,
    Read,
    Ready,
    Refused,
    Rest,
    Rested,
    SetThreads,
    Shutdown,
    Stats,
    Step,
    Submit,
    UnloadAdapter,
    decode_from_engine,
    encode,
)
from ai_core.engine_client.answer import BUFFERED_EVENTS, EngineLost, InFlight, SocketAnswer
from ai_core.engine_client.outbox import Outbox
from ai_core.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    GenerationFailed,
    InvalidRequest,
    NeoError,
    Overloaded,
)

_READ_BYTES = 64 * 1024
_FRAMES_PER_TURN = 64
"""Readers get their turn after so many frames: an engine that answers at once must not fill a
reader's buffer before the reader ran."""


class SocketEngine:
    """Implements :class:`.port.Engine` for one engine process, as long as that lives.

    Attributes:
        lost: done as soon as the engine says nothing more.
        loaded: the engine's word on its model; stays pending if it is lost before.
        load_progress: 0 to 1.
        last_frame: when the engine last said something (``clock``).
        wire_error: what made its frames unreadable, if that is why it counts as lost.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        buffered_events: int = BUFFERED_EVENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes over ``connection`` (non-blocking) and starts reading. Needs a running event loop."""
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.loaded: asyncio.Future[Ready | LoadFailed] = loop.create_future()
        self.load_progress = 0.0
        self.last_frame = clock()
        self.wire_error: str | None = None
        self._clock = clock
        self._socket = connection
        self._outbox = Outbox(connection)
        self._buffered_events = buffered_events
        self._ids = itertools.count(1)
        self._in_flight: dict[int, InFlight] = {}
        self._adapter_replies: dict[int, asyncio.Future[AdapterReply]] = {}
        self._ready: Ready | None = None
        self._stats = Stats()
        self._resting: asyncio.Future[bool] | None = None
        self._reading = asyncio.create_task(self._read())

    @property
    def ready(self) -> Ready | None:
        return self._ready

    @property
    def stats(self) -> Stats:
        return self._stats

    async def submit(self, request: Submit) -> SocketAnswer:
        """As the port says. Raises :class:`.answer.EngineLost` when the process is gone."""
        await self._outbox.room()
        if self.lost.done():
            raise EngineLost(started=False, shown=False)
        request = msgspec.structs.replace(request, id=next(self._ids))
        frame = _frame(request)
        in_flight = InFlight(request, self._send_cancel, self._buffered_events)
        self._in_flight[request.id] = in_flight
        self._outbox.write(frame)
        try:
            return SocketAnswer(in_flight, await in_flight.accepted)
        except asyncio.CancelledError:
            in_flight.cancel()
            raise

    async def set_threads(self, decode: int, batch: int) -> None:
        self.apply_threads(decode, batch)

    def apply_threads(self, decode: int, batch: int) -> None:
        """As :meth:`set_threads`, which has nothing to wait for here."""
        self._say(SetThreads(decode, batch))

    async def rest(self) -> bool:
        """Ask the engine to give back what it can while nobody is answered. Whether it has."""
        if self._resting is None or self._resting.done():
            self._resting = asyncio.get_running_loop().create_future()
            self._say(Rest())
        signs: set[asyncio.Future[Any]] = {self._resting, self.lost}
        await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
        return self._resting.done() and self._resting.result()

    async def load_adapter(self, file: AdapterFile) -> AdapterReply:
        """Ask the engine to load an adapter. Raises :class:`.answer.EngineLost` when the process is gone."""
        return await self._ask_about_adapter(LoadAdapter(next(self._ids), file))

    async def unload_adapter(self, name: str) -> AdapterReply:
        """Ask the engine to forget an adapter. Raises as :meth:`load_adapter`."""
        return await self._ask_about_adapter(UnloadAdapter(next(self._ids), name))

    async def _ask_about_adapter(self, message: LoadAdapter | UnloadAdapter) -> AdapterReply:
        reply: asyncio.Future[AdapterReply] = asyncio.get_running_loop().create_future()
        self._adapter_replies[message.id] = reply
        try:
            self._say(message)
            signs: set[asyncio.Future[Any]] = {reply, self.lost}
            await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._adapter_replies[message.id]
        if not reply.done():
            raise EngineLost(started=False, shown=False)
        return reply.result()

    def shut_down(self) -> None:
        """Ask the engine to end."""
        self._say(Shutdown())

    async def close(self) -> None:
        """Ask the engine to end and hang up."""
        self.shut_down()
        self._reading.cancel()
        await asyncio.wait({self._reading})
        await self._outbox.close()
        self._socket.close()

    def in_flight(self) -> list[InFlight]:
        """Requests on which the engine has not said its last word."""
        return list(self._in_flight.values())

    def _say(self, message: Message) -> None:
        self._outbox.write(encode(message))

    def _send_cancel(self, request_id: int) -> None:
        self._say(Cancel(request_id))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        frames = FrameReader()
        try:
            while data := await loop.sock_recv(self._socket, _READ_BYTES):
                await self._receive_all(frames.feed(data))
        except OSError:
            pass  # A reset is the end, like the end of the stream.
        except (ValueError, msgspec.DecodeError) as error:
            self.wire_error = str(error)
        finally:
            self._lose()

    async def _receive_all(self, bodies: list[bytes]) -> None:
        self.last_frame = self._clock()
        for count, body in enumerate(bodies, start=1):
            self._receive(decode_from_engine(body))
            if count % _FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _receive(self, message: FromEngine) -> None:
        match message:
            case Step():
                self._take_step(message)
            case Heartbeat():
                self._stats = message.stats
            case Read():
                if (in_flight := self._in_flight.get(message.id)) is not None:
                    in_flight.read = True
            case Accepted():
                if (in_flight := self._in_flight.get(message.id)) is not None:
                    in_flight.accept(message.prompt_tokens)
            case Refused():
                self._fail(message.id, _refusal(message))
            case _:
                self._receive_of_model(message)

    def _receive_of_model(self, message: FromEngine) -> None:
        """What concerns no single request."""
        match message:
            case Rested(done=done):
                if self._resting is not None and not self._resting.done():
                    self._resting.set_result(done)
            case AdapterReply():
                self._take_adapters(message)
            case Loading():
                self.load_progress = message.progress
            case Ready() | LoadFailed():
                self._take_loaded(message)

    def _take_loaded(self, message: Ready | LoadFailed) -> None:
        if isinstance(message, Ready):
            self._ready = message
            self.load_progress = 1.0
        if not self.loaded.done():
            self.loaded.set_result(message)

    def _take_adapters(self, message: AdapterReply) -> None:
        if self._ready is not None and self._ready.adapters != message.adapters:
            self._ready = msgspec.structs.replace(self._ready, adapters=message.adapters)
        if (reply := self._adapter_replies.get(message.id)) is not None and not reply.done():
            reply.set_result(message)

    def _take_step(self, step: Step) -> None:
        for request_id in step.started:
            if (in_flight := self._in_flight.get(request_id)) is not None:
                in_flight.started = True
        for delta in step.deltas:
            if (in_flight := self._in_flight.get(delta.id)) is not None:
                in_flight.deliver(delta)
        for finished in step.finished:
            if (in_flight := self._in_flight.pop(finished.id, None)) is not None:
                in_flight.finish(finished)
        for failed in step.failed:
            self._fail(failed.id, _failure(failed))
        if step.stats is not None:
            self._stats = step.stats

    def _fail(self, request_id: int, error: NeoError) -> None:
        if (in_flight := self._in_flight.pop(request_id, None)) is not None:
            in_flight.fail(error)

    def _lose(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if self._ready is not None:
            for suspect in self._under_the_engines_eyes():
                suspect.being_read = True
        for in_flight in self._in_flight.values():
            in_flight.fail(
                EngineLost(started=in_flight.started, shown=in_flight.shown, being_read=in_flight.being_read)
            )

    def _under_the_engines_eyes(self) -> list[InFlight]:
        """Requests that the engine looked at last, before it accepted them: it reads and compiles in the
        order in which they were sent."""
        unaccepted = [one for one in self._in_flight.values() if not one.accepted.done()]
        reading = [one for one in unaccepted if not one.read][:1]
        return reading + [one for one in unaccepted if one.read][:1]


def _frame(request: Submit) -> bytes:
    try:
        return encode(request)
    except UnicodeEncodeError:
        raise InvalidRequest("The text is not valid Unicode: it holds half of a surrogate pair.") from None
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"The request cannot be passed to the engine: {error}.") from None


def _refusal(refused: Refused) -> NeoError:
    if refused.code == "queue_full":
        return Overloaded(refused.message, retry_after=1.0)
    return InvalidRequest(refused.message, code=refused.code, parameter=refused.parameter)


def _failure(failed: Failed) -> NeoError:
    match failed.code:
        case "timeout":
            return DeadlineExceeded(failed.message)
        case "grammar_too_complex":
            return InvalidRequest(failed.message, code=failed.code, parameter=failed.parameter)
        case "shutting_down":
            return EngineUnavailable(failed.message, retry_after=1.0)
        case "decode_error":
            return GenerationFailed(failed.message)
