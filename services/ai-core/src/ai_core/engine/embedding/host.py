"""The heart of an engine process for an embedding model: what :class:`.engine.host.Host` is for others.

The same loop drives it. Each step is one call of the embedder, filled from all waiting requests in
their order: a request with thousands of inputs is computed in slices and goes to the end of its key's
line after each, so that one with a single input never waits for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ai_core.engine.backends.embedding_port import CannotEmbed, Embedder, Vectors
from ai_core.engine.embedding.intake import EmbeddingIntake
from ai_core.engine.embedding.work import Room, Work
from ai_core.engine.messages import (
    Accepted,
    AdapterReply,
    Cancel,
    Failed,
    Finished,
    LoadAdapter,
    Message,
    Refused,
    Rest,
    Rested,
    SetThreads,
    Stats,
    Step,
    Submit,
    ToEngine,
    UnloadAdapter,
)
from ai_core.engine.order import Order, Waiting
from ai_core.engine.tokens import Tokens


@dataclass(slots=True, eq=False)
class _Request:
    submit: Submit
    work: Work
    arrived: float
    started: float | None = None


@dataclass(slots=True)
class _Counters:
    prompt_tokens: int = 0
    steps: int = 0
    step_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Slice:
    """The part of one request that goes into the next call."""

    request: _Request
    inputs: Sequence[Tokens]


@dataclass(slots=True)
class _Outgoing:
    finished: list[Finished] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


class EmbeddingHost:
    """See the module's text.

    Args:
        embedder: computes vectors.
        intake: reads requests.
        max_waiting: requests that may be under way; one more is refused with ``queue_full``.
        clock: monotonic seconds.
        send: takes every outgoing message.
        resident_bytes: memory of this process, for the snapshots.
    """

    def __init__(
        self,
        embedder: Embedder,
        intake: EmbeddingIntake,
        *,
        max_waiting: int,
        clock: Callable[[], float],
        send: Callable[[Message], None],
        resident_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._embedder = embedder
        self._intake = intake
        self._capabilities = embedder.capabilities()
        self._max_waiting = max_waiting
        self._clock = clock
        self._send = send
        self._resident_bytes = resident_bytes
        self._order = Order()
        self._requests: dict[int, _Request] = {}
        self._ended_early: list[Finished] = []
        self._counters = _Counters()

    @property
    def busy(self) -> bool:
        """Whether there is anything to do in a step."""
        return bool(self._requests or self._ended_early)

    def receive(self, message: ToEngine) -> None:
        """Take one message; answers a ``Submit`` at once."""
        match message:
            case Submit():
                self._submit(message)
            case Cancel(id=request_id):
                self._cancel(request_id)
            case SetThreads(batch=batch):
                self._embedder.set_threads(batch)
            case Rest():
                self._send(Rested(done=False))
            case LoadAdapter(id=id_) | UnloadAdapter(id=id_):
                text = "an embedding model takes no adapters"
                self._send(AdapterReply(id=id_, adapters=[], problem="not_supported", message=text))

    def step(self, *, with_stats: bool = False) -> None:
        """Compute one call's worth of inputs, send what is complete.

        Raises:
            Exception: the embedder is broken as a whole; the process should end.
        """
        out = _Outgoing()
        out.finished, self._ended_early = self._ended_early, []
        now = self._clock()
        self._expire(now, out)
        if slices := self._fill(now):
            self._compute(slices, out)
            self._counters.steps += 1
            self._counters.step_seconds += self._clock() - now
        stats = self.stats() if with_stats or not self.busy else None
        self._send_all(out, stats)

    def stats(self) -> Stats:
        """A snapshot for metrics."""
        running = sum(request.started is not None for request in self._requests.values())
        return Stats(
            running=running,
            waiting=len(self._requests) - running,
            prompt_tokens=self._counters.prompt_tokens,
            steps=self._counters.steps,
            step_seconds=self._counters.step_seconds,
            resident_bytes=self._resident_bytes(),
        )

    # --- arriving ---------------------------------------------------------------------------------

    def _submit(self, submit: Submit) -> None:
        if len(self._requests) >= self._max_waiting:
            message = f"{self._max_waiting} requests wait already; try again later"
            self._send(Refused(id=submit.id, code="queue_full", parameter=None, message=message))
            return
        work = self._intake.read(submit)
        if isinstance(work, Refused):
            self._send(work)
            return
        now = self._clock()
        request = self._requests[submit.id] = _Request(submit, work, now)
        self._queue(request, now)
        self._send(Accepted(submit.id, work.tokens))

    def _queue(self, request: _Request, now: float) -> None:
        submit = request.submit
        timeout = submit.timeout if request.started is None else None
        self._order.add(
            Waiting(
                id=submit.id,
                priority=submit.priority,
                fairness_key=submit.fairness_key,
                # Who had a turn goes behind those of the same key that wait already.
                arrived=now,
                deadline=None if timeout is None else now + timeout,
                cost=min(request.work.tokens, self._capabilities.rows),
                alone=submit.alone,
            )
        )

    def _cancel(self, request_id: int) -> None:
        if request_id in self._requests:
            self._order.remove(request_id)
            self._ended_early.append(self._end(self._requests[request_id], "cancelled"))

    def _expire(self, now: float, out: _Outgoing) -> None:
        for waiting in self._order.expired(now):
            del self._requests[waiting.id]
            seconds = now - waiting.arrived
            out.failed.append(Failed(waiting.id, "timeout", f"waited {seconds:.0f} s without a turn"))

    def _fill(self, now: float) -> list[_Slice]:
        room = Room(self._capabilities.rows, self._capabilities.inputs)
        slices: list[_Slice] = []
        for waiting in self._order.candidates(now):
            if room.inputs <= 0 or room.rows <= 0 or (waiting.alone and slices):
                break
            request = self._requests[waiting.id]
            if inputs := request.work.next_inputs(room):
                room.take(inputs)
                slices.append(_Slice(request, inputs))
            if waiting.alone:
                break
        return slices

    def _compute(self, slices: list[_Slice], out: _Outgoing) -> None:
        self._turn(slices)
        try:
            vectors = self._embedder.embed([tokens for each in slices for tokens in each.inputs])
        except CannotEmbed as error:
            self._after_failure(slices, str(error), out)
            return
        start = 0
        for each in slices:
            end = start + len(each.inputs)
            self._take(each.request, vectors[start:end], out)
            start = end

    def _turn(self, slices: list[_Slice]) -> None:
        now = self._clock()
        fresh = [each.request for each in slices if each.request.started is None]
        if fresh:
            # Said before anything is done with them: if that kills the process, these are suspects.
            self._send(Step(started=[request.submit.id for request in fresh]))
        for request in fresh:
            request.started = now
        for each in slices:
            tokens = sum(map(len, each.inputs))
            self._order.admitted(each.request.submit.id, cost=tokens)
            self._counters.prompt_tokens += tokens

    def _after_failure(self, slices: list[_Slice], reason: str, out: _Outgoing) -> None:
        """Each request is tried alone, and only those that fail again fail."""
        if len(slices) == 1:
            request_id = slices[0].request.submit.id
            del self._requests[request_id]
            out.failed.append(Failed(request_id, "decode_error", reason))
            return
        for each in slices:
            try:
                vectors = self._embedder.embed(each.inputs)
            except CannotEmbed as error:
                self._after_failure([each], str(error), out)
            else:
                self._take(each.request, vectors, out)

    def _take(self, request: _Request, vectors: Vectors, out: _Outgoing) -> None:
        request.work.add(vectors)
        if request.work.complete:
            out.finished.append(self._end(request, "stop"))
        else:
            self._queue(request, self._clock())

    # --- leaving ----------------------------------------------------------------------------------

    def _end(self, request: _Request, reason: Literal["stop", "cancelled"]) -> Finished:
        del self._requests[request.submit.id]
        now = self._clock()
        started = request.started or now
        return Finished(
            request.submit.id,
            reason,
            "",
            request.work.tokens,
            0,
            0,
            started - request.arrived,
            now - started,
            vectors=request.work.result() if request.work.complete else b"",
        )

    def _send_all(self, out: _Outgoing, stats: Stats | None) -> None:
        # Several large answers would not fit in one frame together.
        for finished in out.finished:
            self._send(Step(finished=[finished]))
        self._send(Step(failed=out.failed, stats=stats))
