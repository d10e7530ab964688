"""Keeps one engine process for one model: starts it, replaces it, gives up on it for a while."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import msgspec

from ai_core.engine.messages import AdapterFile, EngineConfig, Ready
from ai_core.errors import EngineUnavailable
from ai_core.residency import unavailable
from ai_core.residency.backoff import Backoff, Park, Restart, RestartPolicy
from ai_core.residency.life import Ending, EngineLife, Patience, Verdict
from ai_core.residency.logbook import log_ended, log_ready, log_started
from ai_core.residency.recovery import Cause, signal_name
from ai_core.residency.spawn import EngineSpawner
from servicekit.logging import get_logger

State = Literal["stopped", "loading", "ready", "restarting", "parked"]

_FIRST_LOAD_GUESS = 2.0

_log = get_logger(__name__)


class EngineKeeper:
    """One engine process at a time. All methods belong to one event loop.

    Attributes:
        state: ``restarting`` lasts from an end until the next process is ready.
        life: the process of now, if there is one.
        restarts: processes that ended without being asked to, by cause.
        config: how the next process is started.
        adapters: LoRA adapters for the next process, instead of those in ``config``, if set.
        threads: (decode, batch) for the process of now and all later ones, if set.
    """

    def __init__(
        self,
        model: str,
        config: EngineConfig,
        spawner: EngineSpawner,
        judge: Callable[[Ending], Mapping[str, int]],
        *,
        patience: Patience = Patience(),
        policy: RestartPolicy = RestartPolicy(),
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``judge`` hears of each end before anybody else, and returns what becomes of the requests,
        counted for the log. ``on_change`` is called after each change of ``state``."""
        self.state: State = "stopped"
        self.config = config
        self.life: EngineLife | None = None
        self.restarts: Counter[Cause] = Counter()
        self.threads: tuple[int, int] | None = None
        self.adapters: tuple[AdapterFile, ...] | None = None
        self._model = model
        self._spawner = spawner
        self._judge = judge
        self._patience = patience
        self._clock = clock
        self._on_change = on_change
        self._backoff = Backoff(policy)
        self._load_seconds = _FIRST_LOAD_GUESS
        self._next_start = 0.0
        self._parked_because = ""
        self._settled = asyncio.Event()
        self._closed = False
        self._closing: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load, unless that is done or under way. Returns at once.

        Raises:
            EngineUnavailable: closed, or parked and not yet to be tried again.
        """
        if (refusal := self.refusal) is not None:
            raise refusal
        if self.state in {"stopped", "parked"}:
            self._enter("loading")
            self._closing = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._keep(self._closing))
            self._task.add_done_callback(self._stopped)

    async def serving(self, patience: float | None) -> EngineLife:
        """The process of now, as soon as its model is resident.

        Args:
            patience: seconds to wait for it; None: ``Patience.ready``.

        Raises:
            EngineUnavailable: not in time, parked, or closed.
        """
        self.start()
        if self.state != "ready":
            await self._wait(self._patience.ready if patience is None else patience)
        if self.state != "ready" or self.life is None:
            raise self._not_serving()
        return self.life

    @property
    def refusal(self) -> EngineUnavailable | None:
        """What :meth:`start` would raise now."""
        if self._closed:
            return unavailable.closed(self._model)
        if self.state == "parked" and self._clock() < self._next_start:
            return self._not_serving()
        return None

    def delay(self) -> EngineUnavailable | None:
        """How far the next process is; None: it serves, or nobody has started one."""
        return self._not_serving() if self.state in {"loading", "restarting"} else None

    def configure(self, config: EngineConfig) -> None:
        """Start the next process in this way. What made the old way fail is forgotten."""
        self.config = config
        self.adapters = None
        self._backoff = Backoff(self._backoff.policy)
        self._next_start = 0.0

    async def unload(self) -> None:
        """End the process, within ``Patience.shutdown``; :meth:`start` begins anew. What runs in it fails."""
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)
        if self._task is not None:
            await asyncio.wait({self._task})
        if self.state != "parked":
            self._enter("stopped")

    async def close(self) -> None:
        """End the process, as :meth:`unload` does, and start no other."""
        self._closed = True
        await self.unload()
        self._enter("stopped")

    async def _wait(self, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                # The state may change again before this task gets its turn.
                while self.state in {"loading", "restarting"}:
                    await self._settled.wait()
        except TimeoutError:
            return

    def _enter(self, state: State) -> None:
        changed = state != self.state
        self.state = state
        if state in {"loading", "restarting"}:
            self._settled.clear()
        else:
            self._settled.set()
        if changed:
            self._on_change()

    async def _keep(self, closing: asyncio.Future[None]) -> None:
        while not closing.done():
            await self._one_life(closing)
            if self.state == "parked":
                return
            await asyncio.wait({closing}, timeout=self._next_start - self._clock())

    async def _one_life(self, closing: asyncio.Future[None]) -> None:
        try:
            life = await EngineLife.begin(self._spawner, self._next_config(), self._patience, self._clock)
        except OSError as error:
            self._conclude(Ending(None, Cause.CRASHED, None, 0.0, str(error)))
            return
        self.life = life
        log_started(self._model, life)
        try:
            ending = await life.run(closing, partial(self._note_ready, life))
            self.life = None
            life.verdict.set_result(self._conclude(ending))
        finally:
            # Whatever went wrong above, nobody may wait for ever.
            if not life.verdict.done():
                life.verdict.set_result(Verdict(Cause.CLOSED, self._load_seconds))

    def _next_config(self) -> EngineConfig:
        if self.adapters is None:
            return self.config
        return msgspec.structs.replace(self.config, adapters=list(self.adapters))

    def _note_ready(self, life: EngineLife, ready: Ready) -> None:
        self._load_seconds = ready.load_seconds
        if self.threads is not None:
            life.engine.apply_threads(*self.threads)
        self._enter("ready")
        log_ready(self._model, life, ready)

    def _conclude(self, ending: Ending) -> Verdict:
        requests = self._judge(ending)
        now = self._clock()
        if ending.cause is Cause.CLOSED:
            self._enter("stopped")
        else:
            self.restarts[ending.cause] += 1
            self._plan(ending, now)
        wait = self._next_start - now
        log_ended(self._model, ending, requests, self.state, wait)
        return Verdict(ending.cause, wait if self.state == "parked" else wait + self._load_seconds)

    def _plan(self, ending: Ending, now: float) -> None:
        if ending.cause is Cause.LOAD_FAILED:
            plan: Restart | Park = self._backoff.refused(now)
        else:
            plan = self._backoff.ended(now, ending.served)
        if isinstance(plan, Park):
            self._next_start = plan.until
            self._parked_because = _explain(ending)
            self._enter("parked")
        else:
            self._next_start = now + plan.delay
            self._enter("restarting")

    def _not_serving(self) -> EngineUnavailable:
        now = self._clock()
        if self._closed or self.state == "stopped":
            return unavailable.closed(self._model)
        if self.state == "parked":
            return unavailable.parked(self._model, self._parked_because, self._next_start - now)
        if self.life is not None:
            return unavailable.loading(self._model, self.life.engine.load_progress, now - self.life.born)
        return unavailable.restarting(self._model, self._next_start - now + self._load_seconds)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        # A parked model may have been started again meanwhile.
        if task is self._task and self.state != "parked":
            self._enter("stopped")
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("engine_keeper_failed", model=self._model, exc_info=error)


def _explain(ending: Ending) -> str:
    if ending.exit_status is None or ending.cause is Cause.LOAD_FAILED:
        return ending.reason
    how = signal_name(ending.exit_status) or f"status {ending.exit_status}"
    return f"its engine ended too often, the last time by {how}."
