"""llama.cpp behind the backend port: continuous batching with shared prefixes."""

from __future__ import annotations

import time

import numpy as np

from ai_core.engine.backends.chances import Weighed
from ai_core.engine.backends.constrained import choose
from ai_core.engine.backends.llama_cpp.adapters import LoraAdapters
from ai_core.engine.backends.llama_cpp.batch import RowBatch
from ai_core.engine.backends.llama_cpp.context import BATCH_ROWS, Context, DecodeError, NoRoom
from ai_core.engine.backends.llama_cpp.kv_cache import KvCache
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.backends.llama_cpp.rotation import Rotation
from ai_core.engine.backends.llama_cpp.running import Running
from ai_core.engine.backends.llama_cpp.sampling import Sampler, is_plain_greedy
from ai_core.engine.backends.llama_cpp.scheduler import (
    Chunk,
    Limits,
    Plan,
    decode_load,
    plan_step,
    service_order,
)
from ai_core.engine.backends.llama_cpp.tenancy import Tenancy
from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.port import (
    BackendStats,
    Capabilities,
    ConstraintFailed,
    Sequence,
    StepResult,
    Tokens,
)
from ai_core.engine.backends.step_cost import Load, StepCost


class LlamaCppBackend:
    """See ``backends.port.Backend`` for the contract.

    Args:
        model: the loaded weights.
        context: an empty context of that model.
        sequence_ids: ids that the context was created with.
        max_sequences: how many sequences may run at once; the other ids hold cached prefixes.
        context_length: most tokens in one sequence.
        limits: rows per call and the inter-token target.
        pause_bytes: memory for copies of paused sequences.
        own_kernels: whether our own kernels compute, which says what steps cost at the start.

    Attributes:
        adapters: what sequences may name; none until some are offered.
        coalesces: whether a sequence shares what others are computing. If not, it shares only what those
            before it left behind at their end.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        *,
        sequence_ids: int,
        max_sequences: int,
        context_length: int,
        limits: Limits,
        pause_bytes: int,
        own_kernels: bool = False,
    ) -> None:
        self._model = model
        self._context = context
        self._max_sequences = max_sequences
        self._context_length = context_length
        self._limits = limits
        self.coalesces = True
        self._cache = KvCache(context, sequence_ids, shares=not model.is_recurrent)
        self._tenancy = Tenancy(self._cache, pause_bytes)
        self._cost = StepCost(even=own_kernels)
        # An adapter's products, and changing to it, cost time too.
        self._adapted_cost = StepCost(even=own_kernels)
        self._rotation = Rotation()
        self.adapters = LoraAdapters(model, context, self._forget_adapter)
        self._namespaces: dict[str, set[str]] = {}
        """Where prefixes lie that were computed with an adapter."""
        self._batch = RowBatch(BATCH_ROWS)
        self._sequences: dict[int, Running] = {}
        self._admissions = 0
        self._ends = np.fromiter(model.vocabulary.end_tokens, dtype=np.int64)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="llama.cpp",
            prefix="none" if self._model.is_recurrent else "any",
            reports_prefix=True,
            context_length=self._context_length,
            max_sequences=self._max_sequences,
            kv_cells=self._context.cells,
            vocabulary=self._model.vocabulary_size,
            adapters=self.adapters.names(),
        )

    def count(self, prompt: Tokens, namespace: str) -> int:
        return self._cache.held(namespace, prompt)

    def submit(self, sequence: Sequence) -> int:
        self._context.wake()
        sampling = sequence.sampling
        if sequence.adapter:
            self.adapters.prepare(sequence.adapter)
            self._namespaces.setdefault(sequence.adapter, set()).add(sequence.namespace)
        sampler = None
        if not is_plain_greedy(sampling):
            sampler = Sampler(self._model.vocabulary, sampling, sequence.max_tokens)
        slot, shared = self._cache.enter(sequence.namespace, sequence.prompt)
        self._admissions += 1
        self._sequences[sequence.id] = Running(
            sequence=sequence,
            slot=slot,
            computed=shared,
            committed=shared,
            admitted=self._admissions,
            sampler=sampler,
            priority=sequence.priority,
        )
        if not any(running.paused for running in self._sequences.values()):
            self._tenancy.admit(self._sequences)
        return self._sequences[sequence.id].computed

    def rest(self) -> None:
        """See ``backends.port.Restful``."""
        self.adapters.use("")
        self._cache.make_room(self._context.cells)
        self._context.rest()

    def prioritise(self, sequence_id: int, priority: int) -> None:
        running = self._sequences.get(sequence_id)
        if running is not None:
            running.priority = max(running.priority, priority)

    def cancel(self, sequence_id: int) -> None:
        if sequence_id in self._sequences:
            self._end(self._sequences[sequence_id])

    def step(self) -> StepResult:
        result = StepResult()
        self._tenancy.settle(self._sequences)
        plan = self._plan()
        if plan.separate:
            self._compute(plan.decodes, [], result)
            self._compute([], plan.chunks, result)
        elif not plan.is_empty:
            self._compute(plan.decodes, plan.chunks, result)
        return result

    def set_threads(self, decode: int, batch: int) -> None:
        self._context.set_threads(decode, batch)

    def stats(self) -> BackendStats:
        paused = sum(running.paused for running in self._sequences.values())
        outside = paused + sum(not running.entered for running in self._sequences.values())
        return BackendStats(
            running=len(self._sequences) - outside,
            paused=paused,
            # While somebody waits for room inside, the order of those who wait outside stays open.
            free_sequences=0 if outside else self._max_sequences - len(self._sequences),
            kv_cells_used=self._cache.used,
            kv_cells_cached=self._cache.evictable(),
            pauses=self._tenancy.pauses,
            evictions=self._cache.evictions,
        )

    def close(self) -> None:
        for running in list(self._sequences.values()):
            self._end(running)
        self.adapters.close()
        self._context.close()
        self._model.close()

    def _plan(self) -> Plan:
        decodes = [running.decode_view() for running in self._sequences.values() if running.decodes]
        prefills = [running for running in self._sequences.values() if running.prefills]
        if prefills:
            wanted = min(self._limits.rows, sum(running.remaining for running in prefills)) + len(decodes)
            free = self._tenancy.make_room_for_prefill(self._sequences, wanted)
        else:
            free = self._cache.free
        views = [running.prefill_view() for running in prefills if running.prefills]
        turn = self._rotation.next(decodes, views, self._cost_of, free)
        if turn is None:
            return Plan()
        prompts = service_order(turn.prefills, turn.number)
        return plan_step(turn.decodes, prompts, self._cost_of(turn.group), self._limits, free, turn.elsewhere)

    def _cost_of(self, adapter: str) -> StepCost:
        return self._adapted_cost if adapter else self._cost

    def _forget_adapter(self, name: str) -> None:
        """Another adapter may come under the same name: nothing that this one computed may be found then."""
        for namespace in self._namespaces.pop(name, ()):
            self._cache.forget(namespace)
        self._rotation.forget(name)

    def _compute(self, decodes: list[int], chunks: list[Chunk], result: StepResult) -> None:
        """One call of llama.cpp, and the tokens that come of it."""
        rows = [self._sequences[id_] for id_ in decodes]
        parts = [(self._sequences[chunk.id], chunk.tokens) for chunk in chunks]
        adapter = (rows[0] if rows else parts[0][0]).sequence.adapter
        started = time.perf_counter()
        load = self._fill(rows, parts)
        self.adapters.use(adapter)
        try:
            self._decode()
        except DecodeError as error:
            self._after_refusal(rows, parts, str(error), result)
            return
        for running in rows:
            running.computed += 1
            self._cache.grew(running.slot, 1)
        self._commit(parts, result)
        self._sample(rows, parts, result)
        self._cost_of(adapter).observe(load, (time.perf_counter() - started) * 1e3)

    def _after_refusal(
        self, rows: list[Running], parts: list[tuple[Running, int]], reason: str, result: StepResult
    ) -> None:
        """llama.cpp refused a call and changed nothing: each sequence is tried alone, and only those
        that are refused again fail."""
        if len(rows) + len(parts) == 1:
            self._fail([*rows, *(running for running, _ in parts)], reason, result)
            return
        for running in rows:
            self._compute([running.id], [], result)
        for running, count in parts:
            self._compute([], [Chunk(running.id, count)], result)

    def _decode(self) -> None:
        try:
            self._context.decode(self._batch)
        except NoRoom:
            # The accounts say there is room. Give up all that is cached before giving up a sequence.
            self._cache.make_room(self._context.cells)
            self._context.decode(self._batch)

    def _fill(self, rows: list[Running], parts: list[tuple[Running, int]]) -> Load:
        batch = self._batch
        batch.clear()
        load = decode_load([running.decode_view() for running in rows])
        if rows:
            batch.add_decodes(
                [running.slot for running in rows],
                [running.generated[-1] for running in rows],
                [running.computed for running in rows],
            )
        for running, count in parts:
            end = running.computed + count
            tokens = running.tokens(running.computed, end)
            batch.add(running.slot, tokens, running.computed, logits=end == running.known)
            load = load.plus(count, running.computed)
        return load

    def _commit(self, parts: list[tuple[Running, int]], result: StepResult) -> None:
        for running, count in parts:
            tokens = running.tokens(running.computed, running.computed + count)
            running.computed += count
            if self.coalesces:
                running.committed = running.computed
                self._cache.computed(running.slot, tokens)
            else:
                self._cache.grew(running.slot, count)
            result.prefix_ready.append((running.id, min(running.computed, len(running.sequence.prompt))))

    def _sample(self, rows: list[Running], parts: list[tuple[Running, int]], result: StepResult) -> None:
        """The next token of every sequence whose last known token is computed. Rows with logits
        stand in the batch in the order in which llama.cpp returns them."""
        drawn: list[tuple[Running, int]] = [(running, row) for row, running in enumerate(rows)]
        row = len(rows) - 1
        for running, count in parts:
            row += count
            if running.remaining == 0:
                drawn.append((running, row))
        if not drawn:
            return
        tokens = self._draw(drawn, result)
        for (running, _), token in zip(drawn, tokens, strict=True):
            if token is not None:
                self._accept(running, token, result)

    def _draw(self, drawn: list[tuple[Running, int]], result: StepResult) -> list[int | None]:
        """The next token of each; None where a grammar cannot be followed any further."""
        logits = self._context.logits(len(drawn))
        weighed = [
            (index, running, Weighed(logits[index], running.sequence.chances))
            for index, (running, _) in enumerate(drawn)
            if running.sequence.chances is not None
        ]
        tokens = self._choose(drawn, logits, result)
        for index, running, distribution in weighed:
            token = tokens[index]
            if token is not None:
                result.chances[running.id] = distribution.of(token)
        return tokens

    def _choose(
        self, drawn: list[tuple[Running, int]], logits: Logits, result: StepResult
    ) -> list[int | None]:
        greedy = [index for index, (running, _) in enumerate(drawn) if running.sampler is None]
        tokens: list[int | None] = [0] * len(drawn)
        unending = [i for i, (running, _) in enumerate(drawn) if running.sequence.sampling.ignore_eos]
        if unending:
            logits[np.asarray(unending)[:, None], self._ends] = -np.inf
        if greedy:
            likeliest = logits.argmax(axis=1) if len(greedy) == len(drawn) else logits[greedy].argmax(axis=1)
            for index, token in zip(greedy, likeliest.tolist(), strict=True):
                tokens[index] = token
        for index, (running, row) in enumerate(drawn):
            if running.sequence.constraint is not None:
                tokens[index] = self._constrained(running, logits[index], tokens[index] or 0, result)
            elif running.sampler is not None:
                tokens[index] = running.sampler.sample(self._context, row, logits[index])
        return tokens

    def _constrained(
        self, running: Running, logits: Logits, likeliest: int, result: StepResult
    ) -> int | None:
        constraint = running.sequence.constraint
        assert constraint is not None
        try:
            return choose(constraint, running.sampler, logits, likeliest)
        except ConstraintFailed as error:
            result.lost_grammar.append((running.id, str(error)))
            self._end(running)
            return None

    def _accept(self, running: Running, token: int, result: StepResult) -> None:
        sequence = running.sequence
        if token in self._model.vocabulary.end_tokens and not sequence.sampling.ignore_eos:
            result.finished.append((running.id, "stop"))
            self._end(running)
            return
        running.generated.append(token)
        result.tokens.append((running.id, token))
        if sequence.constraint is not None and sequence.constraint.complete:
            result.finished.append((running.id, "stop"))
            self._end(running)
        elif len(running.generated) >= sequence.max_tokens or running.known >= self._context_length:
            result.finished.append((running.id, "length"))
            self._end(running)

    def _end(self, running: Running) -> None:
        """Whatever the reason: its computed tokens stay as a cached prefix."""
        del self._sequences[running.id]
        if running.sampler is not None:
            running.sampler.close()
        self._tenancy.forget(running)
        self._cache.finish(running.slot, np.empty(0, np.int32) if running.paused else running.uncommitted)

    def _fail(self, concerned: list[Running], reason: str, result: StepResult) -> None:
        """The cache of these sequences is not to be trusted any more."""
        for running in concerned:
            del self._sequences[running.id]
            if running.sampler is not None:
                running.sampler.close()
            self._cache.release(running.slot)
            result.failed.append((running.id, reason))
