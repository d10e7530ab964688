"""The engine as the rest of the process sees it: one that outlives its processes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from ai_core.engine.messages import EngineConfig, Finished, Ready, Stats, Submit
from ai_core.engine_client.answer import EngineLost
from ai_core.errors import DeadlineExceeded, EngineUnavailable
from ai_core.residency import unavailable
from ai_core.residency.adapters import EngineAdapters
from ai_core.residency.answer import Placed, SupervisedAnswer
from ai_core.residency.backoff import RestartPolicy
from ai_core.residency.keeper import EngineKeeper, State
from ai_core.residency.life import Ending, EngineLife, Patience
from ai_core.residency.quarantine import Quarantine
from ai_core.residency.recovery import Cause, Fate, RequestState, counts_as_strike, fate_of
from ai_core.residency.spawn import EngineSpawner
from ai_core.residency.suspects import Suspects


class SupervisedEngine:
    """Implements :class:`ai_core.engine_client.port.Engine` over processes that may die.

    The first process starts with the first request, or with :meth:`start`. One that ends is
    replaced, and its requests are resubmitted, retried or failed as :mod:`.recovery` decides.
    All methods belong to one event loop.
    """

    def __init__(
        self,
        model: str,
        config: EngineConfig,
        spawner: EngineSpawner,
        *,
        patience: Patience = Patience(),
        restart_policy: RestartPolicy = RestartPolicy(),
        quarantine: Quarantine | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``model`` is its name for messages and logs; ``on_change`` is called after each change of
        ``state``."""
        self.model = model
        self._clock = clock
        self._suspects = Suspects(model, Quarantine() if quarantine is None else quarantine, clock)
        self._keeper = EngineKeeper(
            model,
            config,
            spawner,
            self._judge,
            patience=patience,
            policy=restart_policy,
            clock=clock,
            on_change=on_change,
        )
        self.adapters = EngineAdapters(model, self._keeper)
        """What requests may name, and how that is changed."""

    @property
    def state(self) -> State:
        """``restarting`` lasts from an end until the next process is ready."""
        return self._keeper.state

    @property
    def refusal(self) -> EngineUnavailable | None:
        """What a request would be told at once: parked, or closed."""
        return self._keeper.refusal

    @property
    def load_progress(self) -> float:
        """0 to 1; 0 while there is no process."""
        return self._keeper.life.engine.load_progress if self._keeper.life is not None else 0.0

    @property
    def restarts(self) -> Mapping[Cause, int]:
        """Processes that ended without being asked to, by cause."""
        return Counter(self._keeper.restarts)

    @property
    def pid(self) -> int | None:
        """The process of now."""
        return self._keeper.life.pid if self._keeper.life is not None else None

    @property
    def ready(self) -> Ready | None:
        return self._keeper.life.engine.ready if self._keeper.life is not None else None

    @property
    def stats(self) -> Stats:
        return self._keeper.life.engine.stats if self._keeper.life is not None else Stats()

    def start(self) -> None:
        """Begin to load the model, unless that is done or under way. Returns at once.

        Raises:
            EngineUnavailable: closed, or parked and not yet to be tried again.
        """
        self._keeper.start()

    async def wait_ready(self, patience: float | None = None) -> Ready:
        """Load the model and wait until it is resident, for ``patience`` seconds or the usual time.

        Raises:
            EngineUnavailable: not in time, parked, or closed.
        """
        life = await self._keeper.serving(patience)
        if life.engine.ready is None:
            raise unavailable.closed(self.model)
        return life.engine.ready

    async def submit(self, request: Submit) -> SupervisedAnswer:
        """As the port says. A request without ``timeout`` waits ``Patience.ready`` for the model."""
        deadline = None if request.timeout is None else self._clock() + request.timeout

        async def replace(placed: Placed, lost: EngineLost) -> Placed:
            return await self._place(await self._after(placed.life, placed.request, lost), deadline)

        return SupervisedAnswer(await self._place(request, deadline), replace, self._note_finished)

    async def set_threads(self, decode: int, batch: int) -> None:
        self.apply_threads(decode, batch)

    def apply_threads(self, decode: int, batch: int) -> None:
        """As :meth:`set_threads`, which has nothing to wait for here."""
        self._keeper.threads = (decode, batch)
        if self._keeper.life is not None:
            self._keeper.life.engine.apply_threads(decode, batch)

    def delay(self) -> EngineUnavailable | None:
        """What to tell somebody who does not want to wait any longer; None: there is a process that serves,
        or none at all."""
        return self._keeper.delay()

    async def rest(self) -> bool:
        """Let the engine give back what it can while nobody is answered. Whether it has."""
        life = self._keeper.life
        return life is not None and await life.engine.rest()

    @property
    def config(self) -> EngineConfig:
        """How the next process is started."""
        return self._keeper.config

    def configure(self, config: EngineConfig) -> None:
        """Start the next process in this way; the one of now stays as it is."""
        self._keeper.configure(config)

    async def unload(self) -> None:
        """End the process; the next request starts another one. What runs in it fails."""
        await self._keeper.unload()

    async def close(self) -> None:
        await self._keeper.close()

    async def _place(self, request: Submit, deadline: float | None) -> Placed:
        while True:
            request = self._suspects.admit(request)
            life = await self._keeper.serving(self._time_left(deadline))
            timed = msgspec.structs.replace(request, timeout=self._time_left(deadline))
            try:
                return Placed(request, life, await life.engine.submit(timed))
            except EngineLost as lost:
                request = await self._after(life, request, lost)

    async def _after(self, life: EngineLife, request: Submit, lost: EngineLost) -> Submit:
        """The request as it may be submitted again, or the error for its caller."""
        verdict = await asyncio.shield(life.verdict)
        state = RequestState(lost.started, lost.shown, request.alone, lost.being_read)
        match fate_of(verdict.cause, state, refused=self._suspects.refuses(request)):
            case Fate.RESUBMIT:
                return request
            case Fate.RETRY_ALONE:
                return msgspec.structs.replace(request, alone=True)
            case Fate.UNAVAILABLE:
                raise unavailable.lost(self.model, verdict.cause, verdict.retry_after)
            case Fate.QUARANTINED:
                raise self._suspects.refusal(request)

    def _time_left(self, deadline: float | None) -> float | None:
        if deadline is None:
            return None
        left = deadline - self._clock()
        if left <= 0:
            raise DeadlineExceeded("The request waited longer than its timeout allows.")
        return left

    def _judge(self, ending: Ending) -> Mapping[str, int]:
        states = [
            (one.request, RequestState(one.started, one.shown, one.request.alone, one.being_read))
            for one in ending.in_flight
        ]
        self._suspects.strike(request for request, state in states if counts_as_strike(ending.cause, state))
        fates: Counter[str] = Counter()
        for request, state in states:
            fates[fate_of(ending.cause, state, refused=self._suspects.refuses(request)).value] += 1
        return fates

    def _note_finished(self, placed: Placed, finished: Finished) -> None:
        if placed.request.alone and finished.reason != "cancelled":
            self._suspects.acquit(placed.request)
