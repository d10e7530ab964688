"""The engine's socket and its turn-taking: messages between steps, steps while there is work."""

from __future__ import annotations

import itertools
import resource
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ai_core.engine.messages import (
    Cancel,
    FrameReader,
    Heartbeat,
    Message,
    Shutdown,
    Stats,
    Submit,
    ToEngine,
    decode_to_engine,
    encode,
)

HEARTBEAT_SECONDS = 1.0
STATS_SECONDS = 0.25
"""At most so often a step carries a snapshot for metrics."""
SUBMITS_PER_STEP = 16
INTAKE_SECONDS = 0.02
"""Requests read between two steps, and the time after which no further one is: others wait for a token."""
_READ_BYTES = 1 << 18
_MOST_READ_BYTES = 8 * 1024 * 1024
_MOST_PENDING_BYTES = 16 * 1024 * 1024


class Wire:
    """The engine's end of the socket. Sending never blocks a step unless the other side stopped reading."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._reader = FrameReader()
        self._pending = bytearray()
        self._watched: dict[int, Callable[[], None]] = {}
        self.closed = False

    def watch(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call this whenever there is something to read elsewhere: :meth:`receive` waits for that too."""
        self._watched[descriptor] = call

    def send(self, message: Message) -> None:
        self._pending += encode(message)
        self._flush()

    def receive(self, timeout: float) -> list[ToEngine]:
        """Messages that have arrived; waits up to ``timeout`` seconds for the first."""
        if len(self._pending) > _MOST_PENDING_BYTES:
            self._drain()
        writing = [self._sock] if self._pending else []
        own = self._sock.fileno()
        readable, writable, _ = select.select([own, *self._watched], writing, [], timeout)
        if writable:
            self._flush()
        for descriptor, call in self._watched.items():
            if descriptor in readable:
                call()
        if own not in readable:
            return []
        return [decode_to_engine(body) for body in self._reader.feed(self._read())]

    def _read(self) -> bytes:
        """All that has arrived, up to a bound: a cancel may lie behind a large request."""
        data = bytearray()
        while len(data) < _MOST_READ_BYTES:
            try:
                piece = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except ConnectionError:
                piece = b""
            if not piece:
                self.closed = True
                break
            data += piece
        return bytes(data)

    def _flush(self) -> None:
        try:
            while self._pending:
                del self._pending[: self._sock.send(self._pending)]
        except BlockingIOError:
            return
        except ConnectionError:
            self.closed = True
            self._pending.clear()

    def _drain(self) -> None:
        while self._pending:
            select.select([], [self._sock], [])
            self._flush()


class Host(Protocol):
    """What the loop drives: :class:`.host.Host` or :class:`.embedding.host.EmbeddingHost`."""

    @property
    def busy(self) -> bool:
        """Whether there is anything to do in a step."""

    def receive(self, message: ToEngine) -> None:
        """Take one message."""

    def step(self, *, with_stats: bool = False) -> None:
        """Compute once and send what came of it."""

    def stats(self) -> Stats:
        """A snapshot for metrics."""


class Loop:
    """Runs until the API process says so or goes away."""

    def __init__(self, wire: Wire, host: Host, clock: Callable[[], float]) -> None:
        self._wire = wire
        self._host = host
        self._clock = clock
        self._inbox: dict[int, Submit] = {}
        self._left: set[int] = set()
        self._stats_due = 0.0

    def run(self) -> None:
        while self._take_messages():
            if self._host.busy:
                self._step()
            elif not self._inbox:
                self._beat()

    def _take_messages(self) -> bool:
        """Whether to go on. Cancels are acted on at once, requests are read a few at a time."""
        idle = not (self._host.busy or self._inbox)
        for message in self._wire.receive(HEARTBEAT_SECONDS if idle else 0.0):
            match message:
                case Shutdown():
                    return False
                case Submit(id=request_id):
                    self._inbox[request_id] = message
                case Cancel(id=request_id) if request_id in self._inbox:
                    self._left.add(request_id)
                case _:
                    self._host.receive(message)
        intake_ends = self._clock() + INTAKE_SECONDS
        for number, request_id in enumerate(list(itertools.islice(self._inbox, SUBMITS_PER_STEP))):
            if number and self._clock() >= intake_ends:
                break
            self._host.receive(self._inbox.pop(request_id))
            if request_id in self._left:
                self._left.discard(request_id)
                self._host.receive(Cancel(request_id))
        return not self._wire.closed

    def _step(self) -> None:
        now = self._clock()
        with_stats = now >= self._stats_due
        if with_stats:
            self._stats_due = now + STATS_SECONDS
        self._host.step(with_stats=with_stats)

    def _beat(self) -> None:
        self._wire.send(Heartbeat(self._host.stats()))


def resident_bytes() -> int:
    """Memory of this process that is in RAM (``/proc/self/statm``, field 2); 0 where that is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()
