"""All engines of this server, and who of them is in memory."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import EngineConfig
from ai_core.errors import EngineUnavailable, ModelBusy
from ai_core.residency import unavailable
from ai_core.residency.departures import Departures
from ai_core.residency.fitting import footprint_of, form_that_fits, shrink, too_large
from ai_core.residency.fleet_engine import FleetEngine
from ai_core.residency.fleet_settings import FleetSettings
from ai_core.residency.measuring import MEASURE_SECONDS, Measuring
from ai_core.residency.metrics import FleetMetrics
from ai_core.residency.planning import Cause, NoRoom, Plan, Standing, decide
from ai_core.residency.process_memory import held_by
from ai_core.residency.shared_cores import SharedCores
from ai_core.residency.shrinker import Shrinker
from ai_core.residency.shrinking import SmallerForm
from ai_core.residency.spawn import EngineSpawner
from ai_core.residency.supervisor import SupervisedEngine
from servicekit.logging import get_logger

_NO_BOUND = 1 << 62
_MOMENT = 0.1
"""Seconds."""

_log = get_logger(__name__)


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
        shrinker: Shrinker | None = None,
    ) -> None:
        """``measure`` tells what a process holds, from its id and the files of its model. Without
        ``shrinker``, a model that is too large as it is stored is refused."""
        self._shrinker = shrinker
        self.metrics = FleetMetrics()
        self._spawner = spawner
        self._settings = settings
        self._budget = settings.budget or _NO_BOUND
        self._cores = SharedCores(settings.cores or len(os.sched_getaffinity(0)))
        self._clock = clock
        self._measuring = Measuring(measure, clock)
        self._engines: dict[str, FleetEngine] = {}
        self._retired: dict[str, FleetEngine] = {}
        """Removed, and still at work for somebody; by a name that no model has."""
        self._numbers = itertools.count(1)
        self._loads: dict[FleetEngine, _Load] = {}
        self._room_made_at = 0.0
        self._work: set[asyncio.Task[None]] = set()
        self._conversions: set[asyncio.Task[None]] = set()
        """Which may take minutes, and may be broken off."""
        self._departures = Departures()
        self._timer: asyncio.TimerHandle | None = None
        self._moment: asyncio.TimerHandle | None = None
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
            footprint_of(config),
            patience=self._settings.patience.ready,
            keep_alive=self._settings.keep_alive,
            nudge=self._nudge,
            note_use=self._note_use,
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
        if config == engine.asked_config:
            engine.entry = entry
        else:
            engine.configure(entry, config)
            if engine.phase == "absent":
                engine.footprint = footprint_of(config)
            else:
                engine.leave = Cause.CHANGED
        self._nudge()
        return engine

    def remove(self, name: str) -> None:
        """A model that is no longer here. Its requests under way are answered, then its process ends.
        Raises KeyError."""
        engine = self._engines.pop(name)
        engine.door.turn_away(unavailable.closed(name))
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
        gone = self._departures.expect(engine)
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
            self._departures.forget(engine, gone)
            self._nudge()

    async def close(self) -> None:
        """End all engine processes, side by side. What still runs in them fails."""
        self._closed = True
        for timer in (self._timer, self._moment):
            if timer is not None:
                timer.cancel()
        every = [*self._engines.values(), *self._retired.values()]
        await asyncio.gather(*(engine.close() for engine in every))
        for conversion in self._conversions:
            conversion.cancel()
        await asyncio.gather(*self._work, *self._conversions, return_exceptions=True)

    def standings(self) -> list[Standing]:
        """How all models stand."""
        return [engine.standing(name) for name, engine in self._all()]

    # --- deciding and carrying out ------------------------------------------------------------------------

    def look(self) -> None:
        """Decide anew, and do what is to be done. Called by itself after every event and when time alone
        changes something; a test with a clock of its own calls it."""
        self._nudged = False
        if self._moment is not None:
            self._moment.cancel()
            self._moment = None
        if self._closed:
            return
        self._sweep()
        self._measuring.look(self._all_engines())
        plan = decide(self.standings(), self._budget, self._settings.turns, self._clock())
        self._carry_out(plan)
        self._cores.share([engine for engine in self._all_engines() if engine.users])
        self._set_timer(plan.look_at)

    def _carry_out(self, plan: Plan) -> None:
        for name, engine in self._all():
            engine.closed = name in plan.closed
        for name, refusal in plan.refuse.items():
            self._refuse(self._named(name), refusal)
        for name in plan.admit:
            self._named(name).let_in()
        for name in plan.load:
            self._load(self._named(name))
        for name, cause in plan.evict.items():
            self._evict(self._named(name), cause)
        for name in plan.rest:
            self._start(self._rest(self._named(name)))

    def _refuse(self, engine: FleetEngine, refusal: NoRoom) -> None:
        """It cannot be loaded as it is stored. If a smaller form fits, it is brought into that, once."""
        if engine.converting:
            return
        form = None if self._shrinker is None else form_that_fits(engine, refusal)
        if self._shrinker is None or form is None:
            engine.door.turn_away(too_large(engine.entry.name, refusal))
        else:
            engine.converting = form.name
            shrinking = self._shrink(engine, self._shrinker, form, refusal)
            self._start(shrinking, self._conversions)

    async def _shrink(
        self, engine: FleetEngine, shrinker: Shrinker, form: SmallerForm, refusal: NoRoom
    ) -> None:
        try:
            await shrink(engine, shrinker, form, refusal)
        finally:
            engine.converting = ""
            self._nudge()

    def _load(self, engine: FleetEngine) -> None:
        now = self._clock()
        since = engine.door.since
        switched = since is not None and self._room_made_at >= since
        try:
            engine.supervised.start()
        except EngineUnavailable as error:
            engine.door.turn_away(error)
            return
        self._loads[engine] = _Load(now, self._room_made_at if switched else None)
        engine.let_in()

    def _evict(self, engine: FleetEngine, cause: Cause) -> None:
        if cause is Cause.ROOM:
            self._room_made_at = self._clock()
        engine.leaving = True
        self._start(self._unload(engine, cause))

    async def _unload(self, engine: FleetEngine, cause: Cause) -> None:
        self._measuring.measure(engine)
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
            engine.footprint = footprint_of(engine.supervised.config)
        engine.leave = None
        engine.ended()
        self._loads.pop(engine, None)
        self._measuring.forget(engine)
        self._departures.note(engine)
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
        engine.footprint.rested(self._measuring.held(engine))
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
        self._measuring.measure(engine)
        _log.info(
            "model_measured",
            model=engine.entry.name,
            estimated_bytes=engine.footprint.estimate,
            measured_bytes=engine.footprint.measured,
        )

    # --- small things -----------------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[str, FleetEngine]]:
        yield from self._engines.items()
        yield from self._retired.items()

    def _all_engines(self) -> list[FleetEngine]:
        return [engine for _, engine in self._all()]

    def _named(self, name: str) -> FleetEngine:
        return self._engines.get(name) or self._retired[name]

    def _sweep(self) -> None:
        """Removed models whose processes are gone are forgotten."""
        for name, engine in list(self._retired.items()):
            if engine.phase == "absent":
                del self._retired[name]
                self._cores.forget(engine)
                self._start(engine.close())

    def _nudge(self) -> None:
        """Look soon: after what is happening just now."""
        if not self._nudged and not self._closed:
            self._nudged = True
            asyncio.get_running_loop().call_soon(self.look)

    def _note_use(self) -> None:
        """A model is used now, or no more. Where it is the only one in memory, and nobody waits, that changes
        nothing that could not wait for a moment: with many short requests, each would cost a decision."""
        alone = sum(engine.pid is not None for engine in self._all_engines()) < 2
        quiet = not any(engine.door or engine.leave or engine.closed for engine in self._all_engines())
        if not (alone and quiet):
            self._nudge()
        elif self._moment is None and not self._closed:
            self._moment = asyncio.get_running_loop().call_later(_MOMENT, self._nudge)

    def _set_timer(self, moment: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        delays = [] if moment is None else [moment - now]
        if any(engine.users for _, engine in self._all()):
            delays.append(MEASURE_SECONDS)
        if delays:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(delays)), self._nudge)

    def _start(self, work: Coroutine[None, None, None], among: set[asyncio.Task[None]] | None = None) -> None:
        tasks = self._work if among is None else among
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


@dataclass(frozen=True, slots=True)
class _Load:
    began: float
    room_made_at: float | None
    """When others began to leave for it, if any did."""
