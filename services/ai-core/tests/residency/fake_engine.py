"""An engine process for tests: speaks ``messages``, ends with status 99 when the other side breaks
the protocol, and misbehaves when asked to. One character is one token.

``model_path`` says how it loads: ``fail``, ``crash``, ``crash-once PATH``, ``forever``, ``silent``, or
anything else for a good model. ``serve-deaf`` loads and then ignores ``Shutdown``.

A prompt says what becomes of it. Without a directive it is given back, one character per step.
``hold n``: n characters, then nothing until it is cancelled.
``alone n``: n tokens without text and then nothing, unless it runs alone: then ``done``.
``count n``: n characters.
``hush n``: n tokens without text, then ``done``.
``abort n``, ``exit n``, ``hang n``, ``garbage n``, ``hang-up n``: n characters, then the misbehaviour.
``abort-beside n``: n characters; aborts when anything else runs beside it.
``fail``: accepted, then failed. ``refuse``, ``full``: refused.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ai_core.engine.messages import (
    FRAME_HEADER,
    Accepted,
    Cancel,
    Delta,
    EngineConfig,
    Failed,
    Finished,
    FinishReason,
    FrameReader,
    Heartbeat,
    LoadFailed,
    Loading,
    Message,
    Ready,
    Refused,
    SetThreads,
    Shutdown,
    Stats,
    Step,
    Submit,
    decode_to_engine,
    encode,
)

HEARTBEAT_SECONDS = 0.02
MISUSED = 99


def misused(how: str) -> None:
    sys.stderr.write(f"fake engine misused: {how}\n")
    sys.stderr.flush()
    os._exit(MISUSED)


def stand_still() -> None:
    while True:
        time.sleep(3600)


@dataclass
class Running:
    submit: Submit
    pieces: Iterator[str | None]
    """Each step's text; None: nothing in this step."""
    tokens: int = 0


@dataclass
class FakeEngine:
    config: EngineConfig
    connection: socket.socket
    frames: FrameReader = field(default_factory=FrameReader)
    waiting: dict[int, Submit] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)
    last_id: int = 0
    threads: tuple[int, int] = (0, 0)
    deaf: bool = False

    def say(self, message: Message) -> None:
        self.connection.sendall(encode(message))

    def run(self) -> None:
        while True:
            wait = 0.0 if self.waiting or self.cancelled or self.progressing() else HEARTBEAT_SECONDS
            if select.select([self.connection], [], [], wait)[0]:
                self.listen()
            self.step()

    def progressing(self) -> bool:
        lingering = ("hold", "alone", "abort-beside")
        return not all(prompt_of(one.submit).startswith(lingering) for one in self.running.values())

    def listen(self) -> None:
        data = self.connection.recv(1 << 16)
        if not data:
            os._exit(0)
        for body in self.frames.feed(data):
            match decode_to_engine(body):
                case Submit() as submit:
                    self.take(submit)
                case Cancel(id=request_id):
                    self.cancel(request_id)
                case SetThreads(decode=decode, batch=batch):
                    self.threads = (decode, batch)
                case Shutdown() if not self.deaf:
                    os._exit(0)

    def take(self, submit: Submit) -> None:
        if submit.id <= self.last_id:
            misused(f"request {submit.id} after {self.last_id}")
        if (submit.messages is None) == (submit.prompt is None):
            misused("not exactly one of messages and prompt")
        if submit.max_tokens < 1 or (submit.timeout is not None and submit.timeout <= 0):
            misused("a number out of range")
        self.last_id = submit.id
        text = prompt_of(submit)
        if text == "refuse":
            self.say(Refused(id=submit.id, code="template_error", parameter="messages", message="no"))
        elif text == "full":
            self.say(Refused(id=submit.id, code="queue_full", parameter=None, message="full"))
        else:
            self.waiting[submit.id] = submit
            self.say(Accepted(submit.id, len(text)))

    def cancel(self, request_id: int) -> None:
        if self.waiting.pop(request_id, None) or self.running.pop(request_id, None):
            self.cancelled.append(request_id)

    def step(self) -> None:
        started = list(self.start())
        if started:
            self.say(Step(started=started))
        if not (self.running or self.cancelled):
            self.say(Heartbeat(self.stats()))
            return
        deltas: list[Delta] = []
        finished = [finish(one, "cancelled", 0) for one in self.cancelled]
        failed: list[Failed] = []
        self.cancelled.clear()
        for request_id, one in list(self.running.items()):
            self.advance(request_id, one, deltas, finished, failed)
        self.say(Step(deltas=deltas, finished=finished, failed=failed, stats=self.stats()))

    def start(self) -> Iterator[int]:
        for submit in list(self.waiting.values()):
            if len(self.running) >= self.config.max_sequences or any(
                one.submit.alone for one in self.running.values()
            ):
                return
            if submit.alone and self.running:
                return
            del self.waiting[submit.id]
            self.running[submit.id] = Running(submit, self.script(submit))
            yield submit.id

    def advance(
        self,
        request_id: int,
        one: Running,
        deltas: list[Delta],
        finished: list[Finished],
        failed: list[Failed],
    ) -> None:
        if one.submit.prompt == "fail":
            failed.append(Failed(request_id, "decode_error", "asked to fail"))
            del self.running[request_id]
            return
        try:
            piece = next(one.pieces)
        except StopIteration:
            finished.append(finish(request_id, "stop", one.tokens))
            del self.running[request_id]
            return
        if piece is None:
            return
        deltas.append(Delta(request_id, piece, 1))
        one.tokens += 1
        if one.tokens >= one.submit.max_tokens:
            finished.append(finish(request_id, "length", one.tokens))
            del self.running[request_id]

    def script(self, submit: Submit) -> Iterator[str | None]:
        text = prompt_of(submit)
        directive, _, number = text.partition(" ")
        count = int(number) if number.isdecimal() else 0
        match directive:
            case "count":
                yield from "x" * count
            case "hush":
                yield from [*([""] * count), *"done"]
            case "threads":
                yield from "{}/{}".format(*self.threads)
            case "timeout":
                yield from str(submit.timeout)
            case "hold" | "alone" | "abort-beside":
                yield from self.lingering(submit, directive, count)
            case "abort" | "exit" | "hang" | "garbage" | "hang-up":
                yield from "x" * count
                self.misbehave(directive)
            case _:
                yield from text

    def lingering(self, submit: Submit, directive: str, count: int) -> Iterator[str | None]:
        if directive != "hold" and submit.alone:
            yield from "done"
            return
        yield from [""] * count if directive == "alone" else "x" * count
        while directive != "abort-beside" or len(self.running) == 1:
            yield None
        os.abort()

    def misbehave(self, directive: str) -> None:
        match directive:
            case "abort":
                os.abort()
            case "exit":
                os._exit(3)
            case "garbage":
                self.connection.sendall(FRAME_HEADER.pack(3) + b"\xc1\xc1\xc1")
            case "hang-up":
                self.connection.shutdown(socket.SHUT_RDWR)
        stand_still()

    def stats(self) -> Stats:
        return Stats(running=len(self.running), waiting=len(self.waiting))


def prompt_of(submit: Submit) -> str:
    return submit.prompt if submit.prompt is not None else (submit.messages or [])[-1].content


def finish(request_id: int, reason: FinishReason, tokens: int) -> Finished:
    return Finished(request_id, reason, "", 1, tokens, 0, 0.0, 0.0)


def ready(config: EngineConfig) -> Ready:
    return Ready(
        backend="fake",
        description="a fake",
        context_length=100,
        kv_cells=100,
        max_sequences=config.max_sequences,
        vocabulary=256,
        parameters=0,
        has_chat_template=True,
        prefix="none",
        load_seconds=0.01,
        weights_bytes=0,
    )


def load(engine: FakeEngine) -> None:
    how, _, path = engine.config.model_path.partition(" ")
    if how != "silent":
        engine.say(Loading(0.25))
    if how == "fail":
        engine.say(LoadFailed("cannot_load", "The file is broken."))
        sys.exit(4)
    if how == "crash" or (how == "crash-once" and not Path(path).exists()):
        if path:
            Path(path).touch()
        os.abort()
    if how in {"forever", "silent"}:
        stand_still()
    engine.deaf = how == "serve-deaf"
    engine.say(ready(engine.config))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor, text = sys.argv[1:]
    engine = FakeEngine(msgspec.json.decode(text, type=EngineConfig), socket.socket(fileno=int(descriptor)))
    load(engine)
    engine.run()


if __name__ == "__main__":
    main()
