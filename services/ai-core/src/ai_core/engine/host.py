"""The heart of an engine process: waiting requests, the backend's steps, and text going out.

One object, one thread, no clock and no socket of its own: messages come in through
:meth:`Host.receive`, :meth:`Host.step` computes once, and everything that goes out goes through
``send``. What is common to all backends happens here: the order of waiting requests, the
coalescing of common prefixes, stop strings, deadlines.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from ai_core.engine.adapter_desk import AdapterDesk
from ai_core.engine.answer import Answer
from ai_core.engine.backends.port import (
    Backend,
    Chances,
    Constraint,
    Restful,
    Sequence,
    StepResult,
    Vocabulary,
)
from ai_core.engine.chat.reply import Said
from ai_core.engine.coalescing import Coalescer, WaitFor
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.port import Compiler
from ai_core.engine.free_memory import give_memory_back
from ai_core.engine.intake import Intake, Prompt, grammar_refused
from ai_core.engine.messages import (
    Accepted,
    Cancel,
    Delta,
    Failed,
    Finished,
    FinishReason,
    LoadAdapter,
    Message,
    Read,
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

CANDIDATES_PER_STEP = 64
"""How far down the queue a step looks for somebody who need not wait for a prefix."""


@dataclass(slots=True, eq=False)
class _Request:
    submit: Submit
    prompt: Prompt
    arrived: float
    answer: Answer
    constraint: Constraint | None = None
    held_since: float | None = None
    """When it first waited for a prefix that another is computing."""
    started: float | None = None
    first_token: float | None = None
    cached: int = 0
    generated: int = 0

    @property
    def namespace(self) -> str:
        """Keys and values depend on the adapter: what was computed with one is of no use to another."""
        return f"{self.submit.adapter}\0{self.submit.namespace}"


@dataclass(slots=True)
class _Counters:
    prefix_queries: int = 0
    prefix_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    steps: int = 0
    step_seconds: float = 0.0


@dataclass(slots=True)
class _Outgoing:
    deltas: list[Delta] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


class Host:
    """See the module's text.

    Args:
        backend: computes tokens.
        vocabulary: turns them into bytes.
        intake: reads requests.
        compiler: compiles what answers have to look like.
        max_waiting: requests that may wait; one more is refused with ``queue_full``.
        clock: monotonic seconds.
        send: takes every outgoing message.
        resident_bytes: memory of this process, for the snapshots.
    """

    def __init__(
        self,
        backend: Backend,
        vocabulary: Vocabulary,
        intake: Intake,
        compiler: Compiler,
        *,
        max_waiting: int,
        clock: Callable[[], float],
        send: Callable[[Message], None],
        resident_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._backend = backend
        self._vocabulary = vocabulary
        self._intake = intake
        self._compiler = compiler
        self._capabilities = backend.capabilities()
        self._adapters = AdapterDesk(intake.adapters, self._capabilities, send)
        self._max_waiting = max_waiting
        self._clock = clock
        self._send = send
        self._resident_bytes = resident_bytes
        self._order = Order()
        self._coalescer = Coalescer()
        self._compiling: dict[int, _Request] = {}
        """Read, but not accepted yet: their grammars are being compiled."""
        self._requests: dict[int, _Request] = {}
        self._running: set[int] = set()
        self._ended_early: list[Finished] = []
        self._counters = _Counters()
        self.coalesces = self._capabilities.prefix != "none"
        """Whether requests wait for a prefix that another one is computing. A backend that does not report
        how far it is has the prefix when the other one's first token is out."""

    @property
    def busy(self) -> bool:
        """Whether there is anything to do in a step."""
        return bool(self._requests or self._ended_early)

    def receive(self, message: ToEngine) -> None:
        """Take one message; answers a ``Submit`` at once, unless its grammar has to be compiled first."""
        match message:
            case Submit():
                self._submit(message)
            case Cancel(id=request_id):
                self._cancel(request_id)
            case SetThreads(decode=decode, batch=batch):
                self._backend.set_threads(decode, batch)
            case LoadAdapter():
                self._adapters.load(message)
            case Rest():
                self._rest()
            case UnloadAdapter():
                requests = (*self._requests.values(), *self._compiling.values())
                self._adapters.unload(message, (request.submit.adapter for request in requests))

    def take_compiled(self) -> None:
        """Accept or refuse those whose grammars the compiler is done with."""
        for request_id, compiled in self._compiler.finished():
            request = self._compiling.pop(request_id)
            if isinstance(compiled, BadGrammar):
                self._send(grammar_refused(request.submit, compiled))
            else:
                request.constraint = compiled
                self._accept(request)

    def step(self, *, with_stats: bool = False) -> None:
        """Let in whom there is room for, compute once, send one ``Step``.

        Raises:
            Exception: the backend is broken as a whole; the process should end.
        """
        out = _Outgoing()
        out.finished, self._ended_early = self._ended_early, []
        now = self._clock()
        self._expire(now, out)
        self._admit(now)
        if self._running:
            result = self._backend.step()
            self._counters.steps += 1
            self._counters.step_seconds += self._clock() - now
            self._relay(result, out)
        # The last step before idleness says so: a gauge would show the one before for another second.
        stats = self.stats() if with_stats or not self.busy else None
        self._send(Step(deltas=out.deltas, finished=out.finished, failed=out.failed, stats=stats))

    def stats(self) -> Stats:
        """A snapshot for metrics."""
        backend, counters = self._backend.stats(), self._counters
        return Stats(
            running=backend.running,
            waiting=len(self._order) + len(self._compiling),
            paused=backend.paused,
            kv_cells_used=backend.kv_cells_used,
            kv_cells_cached=backend.kv_cells_cached,
            kv_cells=self._capabilities.kv_cells,
            prefix_queries=counters.prefix_queries,
            prefix_hits=counters.prefix_hits,
            prompt_tokens=counters.prompt_tokens,
            completion_tokens=counters.completion_tokens,
            steps=counters.steps,
            step_seconds=counters.step_seconds,
            pauses=backend.pauses,
            evictions=backend.evictions,
            resident_bytes=self._resident_bytes(),
        )

    def _rest(self) -> None:
        idle = not self.busy and not self._compiling
        if idle and isinstance(self._backend, Restful):
            self._backend.rest()
            give_memory_back()
            self._send(Rested(done=True))
        else:
            self._send(Rested(done=False))

    # --- arriving ---------------------------------------------------------------------------------

    def _submit(self, submit: Submit) -> None:
        if len(self._order) + len(self._compiling) >= self._max_waiting:
            message = f"{self._max_waiting} requests wait already; try again later"
            self._send(Refused(id=submit.id, code="queue_full", parameter=None, message=message))
            return
        prompt = self._intake.read(submit)
        if isinstance(prompt, Refused):
            self._send(prompt)
            return
        with_logprobs = submit.logprobs is not None
        answer = Answer(prompt.reply, submit.stop, self._vocabulary, with_logprobs=with_logprobs)
        request = _Request(submit, prompt, self._clock(), answer)
        if prompt.grammar is None:
            self._accept(request)
        else:
            self._compiling[submit.id] = request
            self._send(Read(submit.id))
            self._compiler.start(submit.id, prompt.grammar, submit.fairness_key)

    def _accept(self, request: _Request) -> None:
        submit, prompt, arrived = request.submit, request.prompt, request.arrived
        self._requests[submit.id] = request
        self._order.add(
            Waiting(
                id=submit.id,
                priority=submit.priority,
                fairness_key=submit.fairness_key,
                arrived=arrived,
                deadline=None if submit.timeout is None else arrived + submit.timeout,
                cost=len(prompt.tokens) + prompt.max_tokens,
                alone=submit.alone,
            )
        )
        self._send(Accepted(submit.id, len(prompt.tokens)))

    def _cancel(self, request_id: int) -> None:
        if request_id in self._compiling:
            self._compiler.drop(request_id)
            self._requests[request_id] = self._compiling.pop(request_id)
        if request_id not in self._requests:
            return
        if request_id in self._running:
            self._backend.cancel(request_id)
        self._order.remove(request_id)
        self._ended_early.append(self._end(request_id, "cancelled", held_back=False))

    def _expire(self, now: float, out: _Outgoing) -> None:
        for waiting in self._order.expired(now):
            del self._requests[waiting.id]
            seconds = now - waiting.arrived
            out.failed.append(Failed(waiting.id, "timeout", f"waited {seconds:.0f} s without a turn"))

    def _admit(self, now: float) -> None:
        if not len(self._order):
            return
        for waiting in list(itertools.islice(self._order.candidates(now), CANDIDATES_PER_STEP)):
            if self._backend.stats().free_sequences <= 0 or self._keeps_others_out():
                return
            if waiting.alone and self._running:
                return
            if self._waits_for_a_prefix(waiting, now):
                continue
            self._start(waiting, now)

    def _keeps_others_out(self) -> bool:
        return any(self._requests[request_id].submit.alone for request_id in self._running)

    def _waits_for_a_prefix(self, waiting: Waiting, now: float) -> bool:
        if not self.coalesces:
            return False
        request = self._requests[waiting.id]
        tokens, namespace = request.prompt.tokens, request.namespace
        held = self._backend.count(tokens, namespace)
        waited = 0.0 if request.held_since is None else now - request.held_since
        verdict = self._coalescer.verdict(tokens, held, namespace, waiting.priority, waited)
        if not isinstance(verdict, WaitFor):
            return False
        if request.held_since is None:
            request.held_since = now
        if verdict.raise_priority is not None:
            self._backend.prioritise(verdict.leader_id, verdict.raise_priority)
            self._coalescer.prioritised(verdict.leader_id, verdict.raise_priority)
        return True

    def _start(self, waiting: Waiting, now: float) -> None:
        request = self._requests[waiting.id]
        submit, tokens = request.submit, request.prompt.tokens
        # Said before anything is done with it: if that kills the process, this is a suspect.
        self._send(Step(started=[submit.id]))
        self._order.admitted(waiting.id)
        request.started = now
        request.cached = self._backend.submit(
            Sequence(
                id=submit.id,
                prompt=tokens,
                sampling=submit.sampling,
                max_tokens=request.prompt.max_tokens,
                priority=submit.priority,
                namespace=request.namespace,
                adapter=submit.adapter,
                constraint=request.constraint,
                chances=submit.logprobs,
            )
        )
        self._coalescer.started(submit.id, tokens, request.cached, request.namespace, submit.priority)
        self._running.add(submit.id)
        self._counters.prefix_queries += len(tokens)
        self._counters.prefix_hits += request.cached
        self._counters.prompt_tokens += len(tokens)

    # --- leaving ----------------------------------------------------------------------------------

    def _relay(self, result: StepResult, out: _Outgoing) -> None:
        now = self._clock()
        for request_id, reused in result.reused:
            self._reused(request_id, reused)
        for request_id, ready in result.prefix_ready:
            self._prefix_ready(request_id, ready)
        reasons: dict[int, FinishReason] = dict(result.finished)
        for request_id, token in result.tokens:
            self._token(request_id, token, result.chances.get(request_id), now, reasons, out)
        for request_id, reason in reasons.items():
            out.finished.append(self._end(request_id, reason, held_back=True))
        for request_id, message in result.failed:
            self._forget(request_id)
            out.failed.append(Failed(request_id, "decode_error", message))
        for request_id, message in result.lost_grammar:
            lost = grammar_refused(self._forget(request_id).submit, BadGrammar(message))
            out.failed.append(Failed(request_id, "grammar_too_complex", lost.message, lost.parameter))

    def _reused(self, request_id: int, reused: int) -> None:
        request = self._requests.get(request_id)
        if request is not None:
            self._counters.prefix_hits += reused - request.cached
            request.cached = reused

    def _prefix_ready(self, request_id: int, ready: int) -> None:
        request = self._requests.get(request_id)
        if request is not None and ready < len(request.prompt.tokens):
            self._coalescer.progress(request_id, ready)
        else:
            self._coalescer.done(request_id)

    def _token(
        self,
        request_id: int,
        token: int,
        chances: Chances | None,
        now: float,
        reasons: dict[int, FinishReason],
        out: _Outgoing,
    ) -> None:
        request = self._requests[request_id]
        if request.first_token is None:
            request.first_token = now
            self._coalescer.done(request_id)
        request.generated += 1
        self._counters.completion_tokens += 1
        out.deltas.append(request.answer.push(request_id, token, chances))
        if request.answer.stopped:
            if request_id not in reasons:
                self._backend.cancel(request_id)
            reasons[request_id] = "stop"

    def _end(self, request_id: int, reason: FinishReason, *, held_back: bool) -> Finished:
        request = self._forget(request_id)
        now = self._clock()
        started = request.started or now
        answer = request.answer
        said, logprobs = answer.finish() if held_back else (Said(), None)
        if answer.has_calls and reason == "stop":
            reason = "tool_calls"
        return Finished(
            request_id,
            reason,
            said.text,
            len(request.prompt.tokens),
            request.generated,
            request.cached,
            started - request.arrived,
            (request.first_token or now) - started,
            logprobs,
            reasoning=said.reasoning,
            calls=list(said.calls),
            reasoning_tokens=answer.reasoning_tokens,
        )

    def _forget(self, request_id: int) -> _Request:
        self._running.discard(request_id)
        self._coalescer.done(request_id)
        return self._requests.pop(request_id)
