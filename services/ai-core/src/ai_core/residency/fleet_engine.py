"""One model of the fleet: its engine, those who use it, and those who wait until they may."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import msgspec

from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import AdapterFile, EngineConfig, Ready, Stats, Submit
from ai_core.errors import DeadlineExceeded, EngineUnavailable, NeoError
from ai_core.residency import unavailable
from ai_core.residency.door import Door
from ai_core.residency.footprint import Footprint
from ai_core.residency.keeper import State
from ai_core.residency.let_in import LetIn
from ai_core.residency.planning import Cause as LeaveCause
from ai_core.residency.planning import Phase, Standing
from ai_core.residency.recovery import Cause
from ai_core.residency.supervisor import SupervisedEngine
from servicekit.logging import get_logger

FIRST_LOAD_GUESS = 2.0
"""Seconds, until a load was measured."""
_A_DAY = 86_400.0
_REST_SHARE = 0.5
"""Of the time after which a model leaves: then it gives back what it can spare."""

_log = get_logger(__name__)


class FleetEngine:
    """Implements :class:`ai_core.engine_client.port.Engine` for a model that may be put out of memory at any
    time, and is loaded again when somebody wants it. What happens when is decided by the fleet.

    Attributes:
        entry: what the operator says of the model.
        footprint: what it holds in memory.
        door: where those wait who may not use it yet.
        asked_config: how the operator wants it started; where that is too large, its engine is started in
            another way.
        converting: the form into which it is being brought, because it is too large as it is stored.
        users: requests that were let in and have not ended.
        uses: those that were let in at all.
        resting: it is about to give back what it can spare.
        leave: it has to go as soon as nobody uses it, for this reason.
        leaving: its process is being ended.
        closed: those who come have to wait at the door.
        idle_since, ready_since: when the last user left, and when it was loaded.
        load_seconds: of the last load, from the start of the process on.
    """

    def __init__(
        self,
        entry: ModelEntry,
        supervised: SupervisedEngine,
        footprint: Footprint,
        *,
        patience: float,
        keep_alive: float,
        nudge: Callable[[], None],
        note_use: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """``patience``: how long those wait who do not say, in seconds; ``keep_alive``: the server's default.
        ``nudge`` asks for a new decision; ``note_use`` hears when the model is used, and when no more."""
        self.entry = entry
        self.supervised = supervised
        self.footprint = footprint
        self.door = Door(clock)
        self.asked_config = supervised.config
        self.converting = ""
        self.users = 0
        self.uses = 0
        self.resting = False
        self.leave: LeaveCause | None = None
        self.leaving = False
        self.closed = False
        self.idle_since = self.ready_since = clock()
        self.load_seconds = FIRST_LOAD_GUESS
        self.last_used: float | None = None
        """When a request last came or ended, by the clock of this process; None: never."""
        self.answered = False
        """It has given an answer to its end since it was loaded."""
        self.on_wait: Callable[[float], None] = lambda _seconds: None
        """Hears how long each one waited at the door."""
        self._patience = patience
        self._default_keep_alive = keep_alive
        self._keep_alive: float | None = None
        self._visits = 0
        self._nudge = nudge
        self._note_use = note_use
        self._clock = clock
        self._preload: asyncio.Task[None] | None = None

    # --- the port ---------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.supervised.state

    @property
    def load_progress(self) -> float:
        """0 to 1; 0 while there is no process."""
        return self.supervised.load_progress

    @property
    def restarts(self) -> Mapping[Cause, int]:
        """Processes that ended without being asked to, by cause."""
        return Counter(self.supervised.restarts)

    @property
    def pid(self) -> int | None:
        return self.supervised.pid

    @property
    def ready(self) -> Ready | None:
        return self.supervised.ready

    @property
    def stats(self) -> Stats:
        return self.supervised.stats

    @property
    def refusal(self) -> EngineUnavailable | None:
        """What a request would be told at once, because trying would be in vain for now."""
        return self.supervised.refusal

    def start(self) -> None:
        """Begin to load the model when there is room, unless that is done or under way.

        Raises:
            EngineUnavailable: closed, or parked and not yet to be tried again.
        """
        if (refusal := self.refusal) is not None:
            raise refusal
        if self._preload is None or self._preload.done():
            self._preload = asyncio.create_task(self._load_for_nobody())

    async def submit(self, request: Submit) -> LetIn:
        """As the port says. Waits until the model may be used, at most ``request.timeout``."""
        patience = self._patience if request.timeout is None else request.timeout
        deadline = self._clock() + patience
        await self.enter(patience)
        try:
            if request.timeout is not None:
                request = msgspec.structs.replace(request, timeout=self._time_left(deadline))
            answer = await self.supervised.submit(request)
        except BaseException:
            self.left(complete=False)
            raise
        return LetIn(answer, lambda complete: self.left(complete=complete))

    @property
    def adapters(self) -> tuple[AdapterFile, ...]:
        """See ``engine_client.port.Adaptable``."""
        return self.supervised.adapters.files

    async def load_adapter(self, file: AdapterFile) -> None:
        """See ``engine_client.port.Adaptable``. A model that is not in memory stays where it is."""
        async with self._staying():
            await self.supervised.adapters.load(file)

    async def unload_adapter(self, name: str) -> None:
        """See ``engine_client.port.Adaptable``."""
        async with self._staying():
            await self.supervised.adapters.unload(name)

    async def set_threads(self, decode: int, batch: int) -> None:
        """Without effect: the cores are shared among all engines, by the fleet."""

    async def close(self) -> None:
        """End the engine for good. What runs in it fails, and those who wait are sent away."""
        if self._preload is not None:
            self._preload.cancel()
        self.door.turn_away(unavailable.closed(self.entry.name))
        await self.supervised.close()
        self._nudge()

    # --- coming and going ---------------------------------------------------------------------------

    async def load(self, patience: float) -> Ready:
        """Load the model and wait until it is resident, at most ``patience`` seconds.

        Raises:
            EngineUnavailable: not in time, parked, too large, or closed.
        """
        deadline = self._clock() + patience
        await self.enter(patience)
        try:
            return await self.supervised.wait_ready(self._time_left(deadline))
        finally:
            self.left(complete=False)

    async def enter(self, patience: float) -> None:
        """Be a user from now on, until :meth:`left`; waits until that is possible.

        Raises:
            EngineUnavailable: not within ``patience`` seconds; parked, too large, or closed.
        """
        if (refusal := self.refusal) is not None:
            raise refusal
        if self.open and not self.door:
            self._let_one_in()
            return
        waiter = self.door.knock()
        self._nudge()
        try:
            async with asyncio.timeout(patience):
                await waiter
        except BaseException as error:
            if self.door.leave(waiter):
                self.left(complete=False)
            self._nudge()
            if isinstance(error, TimeoutError):
                raise self.delay() or self._no_room() from None
            raise

    def left(self, *, complete: bool) -> None:
        """One user fewer. ``complete``: an answer was given to its end."""
        self.users -= 1
        self.last_used = self._clock()
        self.answered = self.answered or complete
        if not self.users:
            self.idle_since = self._clock()
            self._note_use()

    @contextmanager
    def visit(self, keep_alive: float | None) -> Iterator[None]:
        """For the length of a request, whatever answers it: the model does not leave meanwhile because of
        its age. ``keep_alive`` counts from its end on, until another one is named or the model leaves."""
        self._visits += 1
        try:
            yield
        finally:
            self._visits -= 1
            self.keep(keep_alive)
            # Its time begins to run.
            self._note_use()

    def keep(self, keep_alive: float | None) -> None:
        """Stay so many seconds after the last use; negative: for ever; None: as before."""
        if keep_alive is not None:
            self._keep_alive = keep_alive

    def let_in(self) -> None:
        """All who wait at the door may go in."""
        self.footprint.woke()

        def each(waited: float) -> None:
            self._let_one_in()
            self.on_wait(waited)

        self.door.let_in(each)

    def delay(self) -> EngineUnavailable | None:
        """What to tell somebody who does not want to wait any longer until the model may be used; None: it
        may be used."""
        if self.converting:
            return unavailable.converting(self.entry.name, self.converting)
        delay = self.refusal or self.supervised.delay()
        return delay or (None if self.open else self._no_room())

    def _no_room(self) -> EngineUnavailable:
        return unavailable.no_room(self.entry.name, self.load_seconds)

    # --- for the fleet --------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """As the decision sees it."""
        if self.leaving:
            return "leaving"
        match self.supervised.state:
            case "stopped" | "parked":
                return "absent"
            case "loading":
                return "loading"
            case "ready" | "restarting":
                return "ready"

    @property
    def open(self) -> bool:
        """Whoever comes may go in at once."""
        return self.phase in {"loading", "ready"} and not self.closed and not self.footprint.resting

    @property
    def keep_alive(self) -> float:
        """Seconds that it stays unused; negative: for ever."""
        if self.entry.pinned:
            return -1.0
        if self._keep_alive is not None:
            return self._keep_alive
        return self._default_keep_alive if self.entry.keep_alive is None else self.entry.keep_alive

    @property
    def memory_bytes(self) -> int:
        """What it counts for now: measured, or estimated until it was."""
        return 0 if self.phase == "absent" else self.footprint.held

    @property
    def unused_seconds(self) -> float | None:
        """Since a request last came or ended; 0 while there is one; None: there was none yet."""
        if self.users:
            return 0.0
        return None if self.last_used is None else self._clock() - self.last_used

    @property
    def expires_at(self) -> float | None:
        """When it leaves, if nobody uses it until then."""
        if self.keep_alive < 0 or self._visits:
            return None
        return max(self.idle_since, self.ready_since) + self.keep_alive

    def standing(self, name: str) -> Standing:
        """How it stands at this moment; ``name`` tells it from all others."""
        phase, footprint = self.phase, self.footprint
        expires_at = self.expires_at
        idle_since = max(self.idle_since, self.ready_since)
        rests = expires_at is not None and footprint.spare > 0
        return Standing(
            name=name,
            phase=phase,
            held=self.memory_bytes,
            full=footprint.full,
            spare=footprint.spare if self.can_rest else 0,
            users=self.users,
            waiting_since=self.door.since,
            idle_since=idle_since,
            ready_since=self.ready_since,
            load_seconds=self.load_seconds,
            weight=self.entry.weight,
            pinned=self.entry.pinned,
            most=self.entry.max_memory,
            leave=self.leave,
            rests_at=idle_since + self.keep_alive * _REST_SHARE if rests else None,
            expires_at=expires_at,
        )

    @property
    def can_rest(self) -> bool:
        """Its engine can give memory back and go on later."""
        able = self.ready is not None and self.ready.can_rest
        return able and not self.resting and not self.footprint.resting

    def configure(self, entry: ModelEntry, config: EngineConfig) -> None:
        """The operator says something else of it now: this counts for the next process."""
        self.entry = entry
        self.asked_config = config
        self._keep_alive = None
        self.supervised.configure(config)

    def ended(self) -> None:
        """Its process is gone."""
        self.footprint.ended()
        self.answered = False
        self._keep_alive = None
        self.closed = False

    @asynccontextmanager
    async def _staying(self) -> AsyncIterator[None]:
        """Meanwhile the model is not put out of memory, if it is there."""
        if self.phase == "absent":
            yield
            return
        await self.enter(self._patience)
        try:
            yield
        finally:
            self.left(complete=False)

    async def _load_for_nobody(self) -> None:
        try:
            await self.load(_A_DAY)
        except NeoError as error:
            _log.warning("preload failed", model=self.entry.name, error=error.code)

    def _let_one_in(self) -> None:
        self.users += 1
        self.last_used = self._clock()
        self.uses += 1
        if self.users == 1:
            self._note_use()

    def _time_left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise DeadlineExceeded("The request waited longer than its timeout allows.")
        return left
