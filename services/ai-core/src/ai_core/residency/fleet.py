"""All engines of this server, and who of them is in memory."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import EngineConfig
from ai_core.errors import EngineUnavailable, ModelBusy
from ai_core.residency import unavailable
from ai_core.residency.backoff import RestartPolicy
from ai_core.residency.estimate import estimate
from ai_core.residency.fleet_engine import FleetEngine
from ai_core.residency.footprint import Footprint
from ai_core.residency.life import Patience
from ai_core.residency.metrics import FleetMetrics
from ai_core.residency.planning import Cause, NoRoom, Plan, Standing, Turns, decide
from ai_core.residency.process_memory import held_by
from ai_core.residency.spawn import EngineSpawner
from ai_core.residency.supervisor import SupervisedEngine
from ai_core.residency.threads import share_cores
from servicekit.logging import get_logger

_NO_BOUND = 1 << 62
_MEASURE_SECONDS = 1.0
"""So often a model that is used is measured."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How the fleet is run."""

    budget: int = 0
    """Bytes that all engines may hold together; 0: no bound."""
    keep_alive: float = -1.0
    """Seconds that a model stays unused; negative: for ever."""
    turns: Turns = field(default_factory=Turns)
    cores: int = 0
    """For all engines together; 0: those that this process may run on."""
    patience: Patience = field(default_factory=Patience)
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)


class Fleet:
    """The engines of all models that run in processes of ours. The set may change at any time; all
    methods belong to one event loop.

    Events come in from requests and from engines; each asks for a new decision (:mod:`.planning`), which
    this carries out. An engine that was handed out stays the engine of its model for as long as the model
    is here: what changes is how its next process is started.
    """

    def __init__(
        self,
        spawner: EngineSpawner,
        settings: FleetSettings = FleetSettings(),
        *,
        clock: Callable[[], float] = time.monotonic,
        measure: Callable[[int, list[Path]], int] = held_by,
    ) -> None:
        """``measure`` tells what a process holds, from its id and the files of its model."""
        self.metrics = FleetMetrics()
        self._spawner = spawner
        self._settings = settings
        self._budget = settings.budget or _NO_BOUND
        self._cores = settings.cores or len(os.sched_getaffinity(0))
        self._clock = clock
        self._measure = measure
        self._engines: dict[str, FleetEngine] = {}
        self._retired: dict[str, FleetEngine] = {}
        """Removed, and still at work for somebody; by a name that no model has."""
        self._numbers = itertools.count(1)
        self._loads: dict[FleetEngine, _Load] = {}
        self._room_made_at = 0.0
        self._measured_at: dict[FleetEngine, float] = {}
        self._threads: dict[FleetEngine, int] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._gone: dict[FleetEngine, list[asyncio.Future[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._nudged = False
        self._closed = False

    # --- which models there are -----------------------------------------------------------------------

    @property
    def engines(self) -> Mapping[str, FleetEngine]:
        """By name; a live view."""
        return MappingProxyType(self._engines)

    @property
    def budget(self) -> int:
        """Bytes; 0: no bound."""
        return self._settings.budget

    def engine(self, name: str) -> FleetEngine:
        """The engine of a model. Raises KeyError."""
        return self._engines[name]

    def add(self, entry: ModelEntry, config: EngineConfig) -> FleetEngine:
        """A model that is new here. Nothing is loaded yet. Raises ValueError if its name is taken."""
        if entry.name in self._engines:
            raise ValueError(f"there is an engine of the model {entry.name!r} already")
        changed: Callable[[], None] = lambda: self._changed(engine)  # noqa: E731
        supervised = SupervisedEngine(
            entry.name,
            config,
            self._spawner,
            patience=self._settings.patience,
            restart_policy=self._settings.restart_policy,
            clock=self._clock,
            on_change=changed,
        )
        engine = FleetEngine(
            entry,
            supervised,
            _footprint(config),
            patience=self._settings.patience.ready,
            keep_alive=self._settings.keep_alive,
            nudge=self._nudge,
            clock=self._clock,
        )
        engine.on_wait = self.metrics.wait_seconds.labels(entry.name).observe
        self._engines[entry.name] = engine
        return engine

    def replace(self, entry: ModelEntry, config: EngineConfig) -> FleetEngine:
        """A model that has changed; it keeps its engine. Requests under way end as they began, the next
        process is started with ``config``, and those who come meanwhile wait for it. Where only the entry
        changed, no process ends. Raises KeyError.
        """
        engine = self._engines[entry.name]
        if config == engine.supervised.config:
            engine.entry = entry
        else:
            engine.configure(entry, config)
            if engine.phase == "absent":
                engine.footprint = _footprint(config)
            else:
                engine.leave = Cause.CHANGED
        self._nudge()
        return engine

    def remove(self, name: str) -> None:
        """A model that is no longer here. Its requests under way are answered, then its process ends.
        Raises KeyError."""
        engine = self._engines.pop(name)
        engine.turn_away(unavailable.closed(name))
        engine.leave = Cause.CHANGED
        self._retired[f"{name} (removed, {next(self._numbers)})"] = engine
        self._nudge()

    # --- what callers and operators ask for -------------------------------------------------------------

    def preload(self) -> None:
        """Begin to load the models that shall be there from the start."""
        for engine in self._engines.values():
            if engine.entry.preload or engine.entry.pinned:
                try:
                    engine.start()
                except EngineUnavailable as error:
                    _log.warning("preload failed", model=engine.entry.name, error=error.code)

    async def unload(self, name: str, patience: float, *, force: bool = False) -> None:
        """Put a model out of memory. Requests under way are answered before, unless ``force``d; those who
        come meanwhile wait, and load it again.

        Raises:
            KeyError: there is no such model.
            ModelBusy: it was still answering after ``patience`` seconds, and stays.
        """
        engine = self._engines[name]
        if engine.phase == "absent":
            return
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone.setdefault(engine, []).append(gone)
        if force and not engine.leaving:
            self._evict(engine, Cause.ASKED)
        elif not engine.leaving:
            engine.leave = engine.leave or Cause.ASKED
        self._nudge()
        try:
            async with asyncio.timeout(patience):
                await gone
        except TimeoutError:
            raise ModelBusy(
                f"The model '{name}' was still answering {engine.users} request(s) and stays in memory. "
                'Try again later, or say "force": true to break them off.',
                retry_after=max(1.0, patience),
            ) from None
        finally:
            self._withdraw(engine, gone)

    async def close(self) -> None:
        """End all engine processes, side by side. What still runs in them fails."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        every = [*self._engines.values(), *self._retired.values()]
        await asyncio.gather(*(engine.close() for engine in every))
        await asyncio.gather(*self._work)

    def standings(self) -> list[Standing]:
        """How all models stand."""
        return [engine.standing(name) for name, engine in self._all()]

    # --- deciding and carrying out ------------------------------------------------------------------------

    def look(self) -> None:
        """Decide anew, and do what is to be done. Called by itself after every event and when time alone
        changes something; a test with a clock of its own calls it."""
        self._nudged = False
        if self._closed:
            return
        self._sweep()
        self._measure_used()
        plan = decide(self.standings(), self._budget, self._settings.turns, self._clock())
        self._carry_out(plan)
        self._share_cores()
        self._set_timer(plan.look_at)

    def _carry_out(self, plan: Plan) -> None:
        for name, engine in self._all():
            engine.closed = name in plan.closed
        for name, refusal in plan.refuse.items():
            self._named(name).turn_away(_too_large(name, refusal))
        for name in plan.admit:
            self._named(name).let_in()
        for name in plan.load:
            self._load(self._named(name))
        for name, cause in plan.evict.items():
            self._evict(self._named(name), cause)
        for name in plan.rest:
            self._start(self._rest(self._named(name)))

    def _load(self, engine: FleetEngine) -> None:
        now = self._clock()
        since = engine.standing("").waiting_since
        switched = since is not None and self._room_made_at >= since
        try:
            engine.supervised.start()
        except EngineUnavailable as error:
            engine.turn_away(error)
            return
        self._loads[engine] = _Load(now, self._room_made_at if switched else None)
        engine.let_in()

    def _evict(self, engine: FleetEngine, cause: Cause) -> None:
        if cause is Cause.ROOM:
            self._room_made_at = self._clock()
        engine.leaving = True
        self._start(self._unload(engine, cause))

    async def _unload(self, engine: FleetEngine, cause: Cause) -> None:
        self._measure_now(engine)
        held = engine.footprint.measured
        try:
            await engine.supervised.unload()
        finally:
            self._note_gone(engine)
        self.metrics.evictions.labels(engine.entry.name, cause.value).inc()
        _log.info("model_unloaded", model=engine.entry.name, cause=cause.value, held_bytes=held)

    def _note_gone(self, engine: FleetEngine) -> None:
        engine.leaving = False
        if engine.leave is Cause.CHANGED:
            engine.footprint = _footprint(engine.supervised.config)
        engine.leave = None
        engine.ended()
        self._loads.pop(engine, None)
        self._measured_at.pop(engine, None)
        for gone in self._gone.pop(engine, ()):
            if not gone.done():
                gone.set_result(None)
        self._nudge()

    async def _rest(self, engine: FleetEngine) -> None:
        uses, engine.resting = engine.uses, True
        try:
            done = await engine.supervised.rest()
        finally:
            engine.resting = False
        # Who came meanwhile has taken everything back.
        if not done or engine.uses != uses or engine.phase != "ready":
            return
        engine.footprint.rested(self._held(engine))
        self.metrics.rests.labels(engine.entry.name).inc()
        self._nudge()

    def _changed(self, engine: FleetEngine) -> None:
        """Its engine is in another state now."""
        state = engine.supervised.state
        if state == "ready":
            self._note_ready(engine)
        elif state in {"stopped", "parked"} and not engine.leaving:
            if self._loads.pop(engine, None) is not None:
                self.metrics.loads.labels(engine.entry.name, "failed").inc()
            self._note_gone(engine)
        self._nudge()

    def _note_ready(self, engine: FleetEngine) -> None:
        now = self._clock()
        engine.ready_since = now
        load = self._loads.pop(engine, None)
        if load is not None:
            engine.load_seconds = now - load.began
            self.metrics.loads.labels(engine.entry.name, "ready").inc()
            self.metrics.load_seconds.labels(engine.entry.name).observe(engine.load_seconds)
            if load.room_made_at is not None:
                self.metrics.switch_seconds.labels(engine.entry.name).observe(now - load.room_made_at)
        self._measure_now(engine)
        _log.info(
            "model_measured",
            model=engine.entry.name,
            estimated_bytes=engine.footprint.estimate,
            measured_bytes=engine.footprint.measured,
        )

    # --- measuring ------------------------------------------------------------------------------------

    def _measure_used(self) -> None:
        now = self._clock()
        for _, engine in self._all():
            busy = engine.users > 0 or engine.idle_since >= self._measured_at.get(engine, 0.0)
            due = now - self._measured_at.get(engine, 0.0) >= _MEASURE_SECONDS
            if engine.phase == "ready" and busy and due:
                self._measure_now(engine)

    def _measure_now(self, engine: FleetEngine) -> None:
        self._measured_at[engine] = self._clock()
        engine.footprint.note(self._held(engine), answered=engine.answered)

    def _held(self, engine: FleetEngine) -> int:
        return 0 if engine.pid is None else self._measure(engine.pid, [engine.entry.path])

    # --- cores ----------------------------------------------------------------------------------------

    def _share_cores(self) -> None:
        """The engines that compute share the cores; the others keep what they had until they compute."""
        active = {name: engine for name, engine in self._all() if engine.users and engine.pid is not None}
        for name, share in share_cores(self._cores, sorted(active)).items():
            engine = active[name]
            threads = min(share, engine.supervised.config.threads or share)
            if self._threads.get(engine) != threads:
                self._threads[engine] = threads
                engine.supervised.apply_threads(threads, threads)

    # --- small things -----------------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[str, FleetEngine]]:
        yield from self._engines.items()
        yield from self._retired.items()

    def _named(self, name: str) -> FleetEngine:
        return self._engines.get(name) or self._retired[name]

    def _sweep(self) -> None:
        """Removed models whose processes are gone are forgotten."""
        for name, engine in list(self._retired.items()):
            if engine.phase == "absent":
                del self._retired[name]
                self._threads.pop(engine, None)
                self._start(engine.close())

    def _withdraw(self, engine: FleetEngine, gone: asyncio.Future[None]) -> None:
        """Somebody does not wait any longer for a model's end. If nobody else does, it may stay."""
        waiting = self._gone.get(engine, [])
        if gone in waiting:
            waiting.remove(gone)
            if not waiting and engine.leave is Cause.ASKED:
                engine.leave = None
                self._nudge()

    def _nudge(self) -> None:
        """Look soon: after what is happening just now."""
        if not self._nudged and not self._closed:
            self._nudged = True
            asyncio.get_running_loop().call_soon(self.look)

    def _set_timer(self, moment: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        delays = [] if moment is None else [moment - now]
        if any(engine.users for _, engine in self._all()):
            delays.append(_MEASURE_SECONDS)
        if delays:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(delays)), self._nudge)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


@dataclass(frozen=True, slots=True)
class _Load:
    began: float
    room_made_at: float | None
    """When others began to leave for it, if any did."""


def _footprint(config: EngineConfig) -> Footprint:
    found = estimate(config)
    return Footprint(found.total, found.cache)


def _too_large(name: str, refusal: NoRoom) -> EngineUnavailable:
    if refusal.most and refusal.most < refusal.budget - refusal.pinned:
        return unavailable.too_large(name, refusal.needs, refusal.most, "its 'max_memory' is")
    if refusal.pinned:
        room = refusal.budget - refusal.pinned
        return unavailable.too_large(name, refusal.needs, room, "beside pinned models there are only")
    return unavailable.too_large(name, refusal.needs, refusal.budget, "the budget of this server is")
