"""Speaks to an engine process directly, without the API in between."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ai_core.engine.messages import (
    ChatMessage,
    EngineConfig,
    Finished,
    FrameReader,
    FromEngine,
    Ready,
    Sampling,
    Shutdown,
    Step,
    Submit,
    decode_from_engine,
    encode,
)


class EngineProcess:
    """One engine process and the socket to it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = FrameReader()
        self._ids = itertools.count(1)

    def messages(self) -> Iterator[FromEngine]:
        """What the engine says, for ever."""
        while True:
            data = self._sock.recv(1 << 20)
            if not data:
                raise RuntimeError("the engine process has ended")
            for body in self._reader.feed(data):
                yield decode_from_engine(body)

    def decode_rate(self, sequences: int, steps: int, depth: int, sampling: Sampling) -> float:
        """Tokens per second while all sequences decode side by side, ``steps`` steps long."""
        filler = "travail " * 400
        first = next(self._ids)
        for number in range(sequences):
            submit = Submit(
                id=first if number == 0 else next(self._ids),
                prompt=f"{number} {filler}"[:depth],
                sampling=sampling,
                max_tokens=steps + 4 * sequences + 8,
            )
            self._sock.sendall(encode(submit))
        times: list[float] = []
        finished = 0
        for message in self.messages():
            if isinstance(message, Step):
                if len(message.deltas) == sequences and len(times) <= steps:
                    times.append(time.perf_counter())
                finished += len(message.finished)
            if finished == sequences:
                return sequences * (len(times) - 1) / (times[-1] - times[0])
        raise AssertionError("messages() does not end")

    def round_trips(self, count: int, text: str) -> list[float]:
        """Seconds from submitting a chat to its end, one request after the other."""
        seconds = []
        for _ in range(count):
            submit = Submit(id=next(self._ids), messages=[ChatMessage("user", text)], max_tokens=16)
            began = time.perf_counter()
            self._sock.sendall(encode(submit))
            self._await_end()
            seconds.append(time.perf_counter() - began)
        return seconds

    def _await_end(self) -> Finished:
        for message in self.messages():
            if isinstance(message, Step) and message.finished:
                return message.finished[0]
        raise AssertionError("messages() does not end")


@contextmanager
def engine(config: EngineConfig) -> Iterator[EngineProcess]:
    """An engine process that has loaded its model."""
    ours, theirs = socket.socketpair()
    command = [
        sys.executable,
        "-m",
        "ai_core.engine",
        str(theirs.fileno()),
        msgspec.json.encode(config).decode(),
    ]
    environment = {**os.environ, "GOMP_SPINCOUNT": "1000"}
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment) as process:
        theirs.close()
        peer = EngineProcess(ours)
        try:
            while not isinstance(next(peer.messages()), Ready):
                pass
            yield peer
        finally:
            ours.sendall(encode(Shutdown()))
            process.wait(30)
