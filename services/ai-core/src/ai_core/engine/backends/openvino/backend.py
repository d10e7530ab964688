"""OpenVINO GenAI's ``ContinuousBatchingPipeline`` behind the backend port.

The pipeline schedules, keeps the paged cache and computes; it is always asked for the likeliest tokens. What
tokens those are is decided here: a node in the graph (``steering``) shows us the logits of every row before
the pipeline looks at them. So sampling, grammars, biases and probabilities mean the same as with llama.cpp,
and a request's seed does not depend on who else is in the batch.

Traps of the pipeline that this module keeps away from: it has no grammar of its own to choke on; ids are
known to be in the vocabulary; request ids are counted here, so none comes twice; no prompt is longer than
the cache.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import openvino as ov
import openvino_genai as genai

from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.openvino.adapters import OpenVinoAdapters
from ai_core.engine.backends.openvino.choosing import Chooser, is_plain_greedy
from ai_core.engine.backends.openvino.held import BLOCK, HeldPrefixes
from ai_core.engine.backends.openvino.marking import FreshMarks, InputIds, cut, marked, plain
from ai_core.engine.backends.openvino.nodes import Floats, conducted
from ai_core.engine.backends.openvino.rows import Positions, Segment, Unreadable, read_batch
from ai_core.engine.backends.openvino.running import Running
from ai_core.engine.backends.openvino.slices import (
    STEP,
    Sizes,
    Slicing,
    fills_a_block,
    is_long,
    next_limit,
    size_beside,
)
from ai_core.engine.backends.port import (
    BackendStats,
    Capabilities,
    ConstraintFailed,
    Feature,
    Sequence,
    StepResult,
    Tokens,
)
from ai_core.engine.backends.step_cost import Load, StepCost
from ai_core.engine.messages import AdapterFile


class OpenVinoBackend:
    """See ``backends.port.Backend`` for the contract.

    Args:
        pipeline: over a prepared graph (``graph.prepare``), with a cache of this size.
        sizes: of the model and its cache.
        ends: tokens that end an answer.
        slicing: how long prompts are read beside others.
        linears: what of the graph can be adapted, by number: its name, and what goes in and comes out.
        adapters: those that sequences may name from the start.

    Attributes:
        coalesces: whether a sequence shares what others are computing. If not, it is given as it is, and
            shares only what those before it left behind at their end.
    """

    def __init__(
        self,
        pipeline: genai.ContinuousBatchingPipeline,
        sizes: Sizes,
        *,
        ends: frozenset[int],
        slicing: Slicing,
        linears: Mapping[str, tuple[int, int]] = MappingProxyType({}),
        adapters: Iterable[AdapterFile] = (),
    ) -> None:
        self._pipeline: genai.ContinuousBatchingPipeline | None = pipeline
        self._sizes = sizes
        self._ends = ends
        self._slicing = slicing
        self._cost = StepCost(even=True)
        self.coalesces = True
        self._held = HeldPrefixes(sizes.blocks)
        self._fresh_marks = FreshMarks(sizes.vocabulary)
        self._sequences: dict[int, Running] = {}
        self._request_ids = itertools.count(1)
        self._segments: list[Segment] = []
        self._linears = list(linears)
        self.adapters = OpenVinoAdapters(linears, adapters, self._forget_all) if linears else None
        """None: the graph has no place for any."""
        self._epoch = 0
        """Raised when nothing of what is in the cache may be used again."""
        self.computed_tokens = 0
        """All that went through the model, from the start."""

    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="OpenVINO",
            prefix="any",
            reports_prefix=True,
            context_length=self._sizes.context_length,
            max_sequences=self._sizes.max_sequences,
            kv_cells=self._sizes.blocks * BLOCK,
            vocabulary=self._sizes.vocabulary,
            missing=frozenset[Feature]() if self.adapters else frozenset[Feature]({"adapter"}),
            adapters=self.adapters.names() if self.adapters else (),
        )

    def count(self, prompt: Tokens, namespace: str) -> int:
        return self._held.find(self._place(namespace), prompt).tokens

    def submit(self, sequence: Sequence) -> int:
        chooser = None if is_plain_greedy(sequence) else Chooser(sequence, self._ends)
        if sequence.adapter and self.adapters is not None:
            self.adapters.prepare(sequence.adapter)
        running = Running(sequence, chooser, sequence.priority)
        self._sequences[sequence.id] = running
        held = self.count(sequence.prompt, sequence.namespace)
        # Slices of one prompt after the other find in the cache what those before had in common.
        if self.coalesces and is_long(len(sequence.prompt), held):
            running.limit = held
        else:
            self._give(running, None)
        return held

    def prioritise(self, sequence_id: int, priority: int) -> None:
        """Decides whose slice comes next. Otherwise, who was submitted first is computed first."""
        running = self._sequences.get(sequence_id)
        if running is not None:
            running.priority = max(running.priority, priority)

    def cancel(self, sequence_id: int) -> None:
        running = self._sequences.get(sequence_id)
        if running is not None:
            self._end(running)
            if running.handle is not None:
                running.handle.cancel()

    def step(self) -> StepResult:
        result = StepResult()
        self._segments = []
        self._give_next_slice()
        began = time.perf_counter()
        with conducted(self):
            self._running_pipeline.step()
        self._cost.observe(_load(self._segments), (time.perf_counter() - began) * 1e3)
        for segment in self._segments:
            self._computed(segment, result)
        for running in list(self._sequences.values()):
            self._relay(running, result)
        return result

    def set_threads(self, decode: int, batch: int) -> None:
        """OpenVINO takes its number of threads when it compiles a model; it stays as it is."""

    def stats(self) -> BackendStats:
        running = len(self._sequences)
        wanted = sum(-(-(one.length + 1 - one.reused) // BLOCK) for one in self._sequences.values())
        cached = max(0, min(len(self._held), self._sizes.blocks - wanted))
        # Whoever comes when the cache is full would only push somebody out, to be computed again.
        free = self._sizes.max_sequences - running if wanted < self._sizes.blocks else 0
        return BackendStats(
            running=running,
            free_sequences=free,
            kv_cells_used=min(self._sizes.blocks, wanted + cached) * BLOCK,
            kv_cells_cached=cached * BLOCK,
        )

    def close(self) -> None:
        for running in list(self._sequences.values()):
            self.cancel(running.id)
        self._pipeline = None

    @property
    def _running_pipeline(self) -> genai.ContinuousBatchingPipeline:
        assert self._pipeline is not None, "used after close"
        return self._pipeline

    def _give_next_slice(self) -> None:
        """A long prompt is given to the pipeline in slices, one at a time for all: what was computed of it
        before, the cache has. Small ones while somebody is being answered, as large as a step else."""
        alive = list(self._sequences.values())
        waiting = [one for one in alive if one.handle is None]
        if not waiting or any(one.limit is not None and one.handle is not None for one in alive):
            return
        # One prompt after the other: two that take turns would both be late.
        running = max(waiting, key=lambda one: (one.priority, one.next or 0))
        if running.ids is None:
            running.limit = self.count(running.sequence.prompt, running.sequence.namespace)
        done = running.limit or 0
        streams = [one.length for one in alive if one.limit is None]
        size = STEP
        if streams:
            beside = Load(len(streams), sum(streams), sum(streams))
            size = size_beside(beside, done, self._cost, self._slicing)
        self._give(running, next_limit(len(running.sequence.prompt), done, size))

    def _give(self, running: Running, limit: int | None) -> None:
        """Let the pipeline compute a sequence, or its prompt up to a limit."""
        ids = self._ids(running)
        if limit is not None:
            beyond = fills_a_block(running.limit or 0, limit)
            ids = cut(ids, limit, self._sizes.vocabulary, beyond=beyond)
            running.beyond = int(beyond)
            if beyond:
                self._held.wasted()
        running.limit = limit
        config = self._generation_config(running.sequence, limit)
        tensor = ov.Tensor(np.ascontiguousarray(ids))
        running.handle = self._running_pipeline.add_request(next(self._request_ids), tensor, config)
        # Whoever was given last comes last in a batch.
        self._sequences[running.id] = self._sequences.pop(running.id)

    def _ids(self, running: Running) -> InputIds:
        """The prompt with the marks of what is held of it, and one of its own on what comes behind that."""
        if running.ids is None:
            sequence = running.sequence
            found = self._held.find(self._place(sequence.namespace), sequence.prompt)
            running.marks = found.marks
            new = -(-found.tokens // BLOCK) * BLOCK
            if left := max(0, len(sequence.prompt) - new):
                running.marks[new] = self._fresh_marks.mark(left)
            running.ids = marked(sequence.prompt, running.marks, self._sizes.vocabulary)
        return running.ids

    def _generation_config(self, sequence: Sequence, limit: int | None) -> genai.GenerationConfig:
        config = genai.GenerationConfig()
        config.max_new_tokens = sequence.max_tokens if limit is None else 1
        config.ignore_eos = sequence.sampling.ignore_eos or limit is not None
        # Without a token that ends, one that no model says: the pipeline wants one.
        ends = self._ends or frozenset({self._sizes.vocabulary})
        config.eos_token_id = min(ends)
        config.stop_token_ids = set(ends)
        return config

    def choose(self, logits: Logits, ids: InputIds, positions: Positions) -> Mapping[int, int]:
        """Called by the graph (``nodes.Conductor``)."""
        self._read(ids, positions)
        sampled = [self._sequences[segment.id] for segment in self._segments if segment.sampled]
        if len(sampled) != len(logits):
            raise Unreadable(f"{len(logits)} rows of logits for {len(sampled)} sequences")
        chosen: dict[int, int] = {}
        for row, running in enumerate(sampled):
            running.chosen = None
            if running.limit is not None or running.chooser is None or running.chooser.leaves_it(logits[row]):
                continue
            try:
                running.chosen, running.chances = running.chooser.choose(logits[row])
                chosen[row] = running.chosen
            except ConstraintFailed as error:
                running.lost = str(error)
        return chosen

    def adapt(self, linear: int, values: Floats, ids: InputIds, positions: Positions) -> Floats | None:
        """Called by the graph (``nodes.Conductor``)."""
        if self.adapters is None:
            return None
        self._read(ids, positions)
        name, added, place = self._linears[linear], None, 0
        for segment in self._segments:
            end = place + segment.end - segment.start
            adapter = self._sequences[segment.id].sequence.adapter
            pair = self.adapters.pair(adapter, name) if adapter else None
            if pair is not None:
                if added is None:
                    added = np.zeros((len(values), pair[1].shape[1]), dtype=np.float32)
                added[place:end] = values[place:end] @ pair[0] @ pair[1]
            place = end
        return added

    def _read(self, ids: InputIds, positions: Positions) -> None:
        """Find out what the batch consists of; once in each step."""
        if not self._segments:
            tokens = plain(ids, self._sizes.vocabulary)
            self.computed_tokens += len(tokens)
            given = [running for running in self._sequences.values() if running.handle is not None]
            self._segments = read_batch(tokens, positions, given)

    def _place(self, namespace: str) -> str:
        return f"{self._epoch}\0{namespace}"

    def _forget_all(self) -> None:
        self._epoch += 1

    def _computed(self, segment: Segment, result: StepResult) -> None:
        """Part of a prompt is in the cache now."""
        running = self._sequences[segment.id]
        prompt = running.sequence.prompt
        if running.next is None:
            running.reused = segment.start
            result.reused.append((running.id, min(segment.start, len(prompt))))
        end = segment.end if running.limit is None else min(segment.end, running.limit)
        if segment.start < len(prompt):
            ready = min(end, len(prompt))
            if self.coalesces:
                self._keep(running, prompt[:ready])
            result.prefix_ready.append((running.id, ready))
        running.next = end

    def _relay(self, running: Running, result: StepResult) -> None:
        if running.lost:
            result.lost_grammar.append((running.id, running.lost))
            self.cancel(running.id)
            return
        if running.handle is None:
            return
        if running.limit is not None:
            self._after_slice(running, result)
            return
        while running.handle.can_read():
            for output in running.handle.read().values():
                for token in output.generated_ids:
                    self._token(running, int(token), result)
            if running.id not in self._sequences:
                return
        if running.handle.get_status() != genai.GenerationStatus.RUNNING:
            self._ended(running, result)

    def _after_slice(self, running: Running, result: StepResult) -> None:
        """The token behind a slice is none of the answer; the cache has the slice when it is there."""
        status = running.handle.get_status()
        if status == genai.GenerationStatus.FINISHED:
            running.handle = None
        elif status != genai.GenerationStatus.RUNNING:
            self._ended(running, result)

    def _token(self, running: Running, token: int, result: StepResult) -> None:
        if running.chosen not in (None, token):
            raise RuntimeError("OpenVINO took another token than the one that was chosen for this sequence")
        sequence = running.sequence
        if token in self._ends and not sequence.sampling.ignore_eos:
            result.finished.append((running.id, "stop"))
            self._end(running)
            return
        running.generated.append(token)
        result.tokens.append((running.id, token))
        if running.chances is not None:
            result.chances[running.id] = running.chances
        if sequence.constraint is not None and sequence.constraint.complete:
            result.finished.append((running.id, "stop"))
            self.cancel(running.id)
        elif len(running.generated) >= sequence.max_tokens or running.length >= self._sizes.context_length:
            result.finished.append((running.id, "length"))
            self.cancel(running.id)

    def _ended(self, running: Running, result: StepResult) -> None:
        """The pipeline gave it up, and it is not at its end."""
        result.failed.append((running.id, "OpenVINO had no room for it in its cache"))
        self._end(running)

    def _end(self, running: Running) -> None:
        """Whatever the reason: its computed tokens stay as a cached prefix."""
        del self._sequences[running.id]
        if running.next is not None:
            self._keep(running, running.tokens(0, min(running.next, running.length)))

    def _keep(self, running: Running, computed: Tokens) -> None:
        self._held.computed(self._place(running.sequence.namespace), computed, running.marks)


def _load(segments: Iterable[Segment]) -> Load:
    load = Load()
    for segment in segments:
        load = load.plus(segment.end - segment.start, segment.start)
    return load
