"""One sequence at a time behind the backend port: whoever comes next waits in the host's order.

A step computes one token of the sequence, or a piece of its prompt. What the last sequence left is kept:
the next one computes only what differs from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ai_core.engine.backends.chances import Weighed
from ai_core.engine.backends.constrained import choose
from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.one_at_a_time.pace import FIRST_CHUNK, next_chunk
from ai_core.engine.backends.one_at_a_time.stepper import StepFailed, Stepper
from ai_core.engine.backends.port import (
    BackendStats,
    Capabilities,
    ConstraintFailed,
    Feature,
    Sequence,
    StepResult,
    Tokens,
)
from ai_core.engine.backends.sampling import Sampler
from ai_core.engine.tokens import common_prefix


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a model after loading."""

    engine: str
    """For people: what computes."""
    context_length: int
    vocabulary: int
    """How many logits there are."""
    end_tokens: frozenset[int]
    keeps_prefix: bool = True
    """Whether the engine's memory of a sequence can be cut in the middle."""
    missing: frozenset[Feature] = frozenset()


@dataclass(slots=True, eq=False)
class _Current:
    """The sequence that is being computed. All tokens are prompt and generated ones; those from
    ``computed`` on are still to be fed."""

    sequence: Sequence
    sampler: Sampler
    tokens: Tokens
    known: int
    computed: int
    generated: int = 0

    @property
    def id(self) -> int:
        return self.sequence.id


@dataclass(slots=True)
class _Held:
    """What the stepper has computed last."""

    tokens: Tokens = field(default_factory=lambda: np.empty(0, np.int32))
    namespace: str = ""
    adapter: str = ""


class OneAtATime:
    """Implements :class:`ai_core.engine.backends.port.Backend`.

    Args:
        stepper: computes.
        traits: of its model.
        adapters: what sequences may name at this moment.
    """

    def __init__(
        self, stepper: Stepper, traits: Traits, adapters: Callable[[], tuple[str, ...]] = tuple
    ) -> None:
        self._stepper = stepper
        self._traits = traits
        self._adapters = adapters
        self._held = _Held()
        self._current: _Current | None = None
        self._chunk = FIRST_CHUNK
        self._threads = (0, 0)
        """For a token and for a piece of a prompt; 0: as they are."""

    def capabilities(self) -> Capabilities:
        traits = self._traits
        return Capabilities(
            name=traits.engine,
            prefix="any" if traits.keeps_prefix else "none",
            reports_prefix=True,
            context_length=traits.context_length,
            max_sequences=1,
            kv_cells=traits.context_length,
            vocabulary=traits.vocabulary,
            missing=traits.missing,
            adapters=self._adapters(),
        )

    def count(self, prompt: Tokens, namespace: str) -> int:
        if self._current is not None or namespace != self._held.namespace or not self._traits.keeps_prefix:
            return 0
        # One token must be computed in any case: what comes next is known only then.
        return min(common_prefix(self._held.tokens, prompt), len(prompt) - 1)

    def submit(self, sequence: Sequence) -> int:
        assert self._current is None, "one sequence at a time"
        held = self.count(sequence.prompt, sequence.namespace)
        if sequence.adapter != self._held.adapter:
            self._forget()
            self._stepper.select(sequence.adapter)
            held = 0
        held = self._stepper.rewind(held)
        sampling = sequence.sampling
        room = np.empty(self._traits.context_length, np.int32)
        room[: len(sequence.prompt)] = sequence.prompt
        self._held = _Held(room[:held], sequence.namespace, sequence.adapter)
        self._current = _Current(
            sequence,
            Sampler(sampling, self._traits.end_tokens if sampling.ignore_eos else ()),
            room,
            known=len(sequence.prompt),
            computed=held,
        )
        return held

    def rest(self) -> None:
        """See ``backends.port.Restful``."""
        self._held = _Held(adapter=self._held.adapter)
        self._stepper.rest()

    def prioritise(self, sequence_id: int, priority: int) -> None:
        """Nothing competes with the one sequence."""

    def cancel(self, sequence_id: int) -> None:
        if self._current is not None and self._current.id == sequence_id:
            self._current = None

    def step(self) -> StepResult:
        result = StepResult()
        current = self._current
        if current is None:
            return result
        try:
            logits = self._feed(current)
        except StepFailed as error:
            self._fail(current, str(error), result)
            return result
        prompt = len(current.sequence.prompt)
        if current.computed <= prompt:
            result.prefix_ready.append((current.id, current.computed))
        if current.computed == current.known:
            self._advance(current, logits, result)
        return result

    def set_threads(self, decode: int, batch: int) -> None:
        self._threads = (decode, batch)

    def stats(self) -> BackendStats:
        running = 0 if self._current is None else 1
        held = len(self._held.tokens)
        return BackendStats(
            running=running,
            free_sequences=1 - running,
            kv_cells_used=held,
            kv_cells_cached=0 if running else held,
        )

    def close(self) -> None:
        self._current = None
        self._stepper.close()

    def forget(self, adapter: str) -> None:
        """Keep nothing that was computed with this adapter, which no sequence uses."""
        if self._held.adapter == adapter:
            self._forget()
            self._stepper.select("")

    def _forget(self) -> None:
        self._stepper.rewind(0)
        self._held = _Held()

    def _feed(self, current: _Current) -> Logits:
        """The next piece of what is to be computed."""
        count = min(current.known - current.computed, self._chunk)
        threads = self._threads[0 if count == 1 else 1]
        if threads:
            self._stepper.set_threads(threads)
        started = time.perf_counter()
        logits = self._stepper.feed(current.tokens[current.computed : current.computed + count])
        if count == self._chunk:
            self._chunk = next_chunk(count, time.perf_counter() - started)
        current.computed += count
        self._held.tokens = current.tokens[: current.computed]
        return logits

    def _advance(self, current: _Current, logits: Logits, result: StepResult) -> None:
        """The next token, and whether it is the last one."""
        sequence = current.sequence
        if not np.isfinite(logits.max()):
            self._fail(current, "the model computed something that is no number", result)
            return
        try:
            token = self._choose(current, logits)
        except ConstraintFailed as error:
            result.lost_grammar.append((current.id, str(error)))
            self._current = None
            return
        if token in self._traits.end_tokens and not sequence.sampling.ignore_eos:
            result.finished.append((current.id, "stop"))
            self._current = None
            return
        if sequence.chances is not None:
            result.chances[current.id] = Weighed(logits, sequence.chances).of(token)
        result.tokens.append((current.id, token))
        current.generated += 1
        if sequence.constraint is not None and sequence.constraint.complete:
            result.finished.append((current.id, "stop"))
            self._current = None
        elif current.generated >= sequence.max_tokens or current.known + 1 >= self._traits.context_length:
            result.finished.append((current.id, "length"))
            self._current = None
        else:
            current.tokens[current.known] = token
            current.known += 1

    @staticmethod
    def _choose(current: _Current, logits: Logits) -> int:
        constraint = current.sequence.constraint
        if constraint is not None:
            return choose(constraint, current.sampler, logits, int(logits.argmax()))
        token = current.sampler.draw(logits)
        current.sampler.accept(token)
        return token

    def _fail(self, current: _Current, reason: str, result: StepResult) -> None:
        self._current = None
        self._forget()
        result.failed.append((current.id, reason))
