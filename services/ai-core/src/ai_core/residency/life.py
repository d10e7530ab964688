"""One engine process, from its start until it is reaped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ai_core.engine.messages import EngineConfig, LoadFailed, Ready
from ai_core.engine_client.answer import InFlight
from ai_core.engine_client.socket_engine import SocketEngine
from ai_core.residency.recovery import Cause, cause_of
from ai_core.residency.spawn import EngineProcess, EngineSpawner
from ai_core.residency.watchdog import Watchdog

_LOOKS_PER_TIMEOUT = 8
_SLOWEST_LOOK = 1.0
_EXIT_GRACE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things may take, in seconds."""

    ready: float = 60.0
    """A caller without a timeout of its own waits so long for an engine that serves."""
    silent: float = 30.0
    """An engine that says nothing for so long hangs. It must exceed its longest step."""
    silent_loading: float = 120.0
    """The same while the model is loaded."""
    shutdown: float = 5.0
    """From the request to end until SIGKILL."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an engine process ended."""

    pid: int | None
    """None if no process could be started."""
    cause: Cause
    exit_status: int | None
    """As ``subprocess.Popen.returncode``."""
    served: float
    """Seconds since it was ready; 0 if it never was."""
    reason: str
    """For the operator; may be empty."""
    in_flight: tuple[InFlight, ...] = ()
    """Requests it had not finished."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What its requests learn of an end."""

    cause: Cause
    retry_after: float
    """Seconds until an engine is likely to serve again."""


class EngineLife:
    """Watches one process. :meth:`run` returns when it is gone and reaped.

    Attributes:
        engine: speaks to the process.
        born: when it was started (``clock``).
        verdict: done when it is settled what comes after the end.
    """

    def __init__(
        self, process: EngineProcess, patience: Patience, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Needs a running event loop."""
        self.engine = SocketEngine(process.connection, clock=clock)
        self.pid = process.pid
        self.born = clock()
        self.verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._ready_at: float | None = None
        self._process = process
        self._patience = patience
        self._clock = clock
        shortest = min(patience.silent, patience.silent_loading)
        self._interval = min(_SLOWEST_LOOK, shortest / _LOOKS_PER_TIMEOUT)
        self._watchdog = Watchdog(self._interval, self.born)

    @classmethod
    async def begin(
        cls,
        spawner: EngineSpawner,
        config: EngineConfig,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
    ) -> EngineLife:
        """Start a process. Raises ``OSError`` if the system refuses one."""
        return cls(await spawner.start(config), patience, clock)

    async def run(self, closing: asyncio.Future[None], on_ready: Callable[[Ready], None]) -> Ending:
        """Until the process is gone.

        Args:
            closing: done when the engine shall end.
            on_ready: called once, when the model is resident.
        """
        lost = self.engine.lost
        signs: set[asyncio.Future[Any]] = {lost, closing, self.engine.loaded}
        while not lost.done():
            await asyncio.wait(signs, timeout=self._interval, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                return await self._shut_down()
            if self.engine.loaded in signs and self.engine.loaded.done():
                signs.discard(self.engine.loaded)
                self._note_ready(on_ready)
            if self._hangs():
                self._process.kill()
                return await self._end(Cause.HUNG)
        if self.engine.wire_error is not None:
            self._process.kill()
        return await self._end(None)

    def _note_ready(self, on_ready: Callable[[Ready], None]) -> None:
        if (ready := self.engine.ready) is not None:
            self._ready_at = self._clock()
            on_ready(ready)

    def _hangs(self) -> bool:
        timeout = self._patience.silent_loading if self._ready_at is None else self._patience.silent
        return self._watchdog.hangs(self._clock(), self.engine.last_frame, timeout)

    async def _shut_down(self) -> Ending:
        if self._ready_at is None:
            # It hears nothing while it loads, and has nothing to lose.
            self._process.kill()
        self.engine.shut_down()
        await asyncio.wait({self.engine.lost}, timeout=self._patience.shutdown)
        if not self.engine.lost.done():
            self._process.kill()
        return await self._end(Cause.CLOSED)

    async def _end(self, cause: Cause | None) -> Ending:
        exit_status = await self._process.exit_status(_EXIT_GRACE)
        await self.engine.close()
        served = 0.0 if self._ready_at is None else self._clock() - self._ready_at
        cause = cause or self._own_cause(exit_status)
        return Ending(self.pid, cause, exit_status, served, self._reason(), tuple(self.engine.in_flight()))

    def _own_cause(self, exit_status: int) -> Cause:
        if self._load_failure() is not None:
            return Cause.LOAD_FAILED
        # It spoke nonsense, or hung up and lived on: it broke down by itself.
        if self._process.was_killed:
            return Cause.CRASHED
        return cause_of(exit_status)

    def _reason(self) -> str:
        if (failure := self._load_failure()) is not None:
            return failure.message
        return self.engine.wire_error or ""

    def _load_failure(self) -> LoadFailed | None:
        loaded = self.engine.loaded
        answer = loaded.result() if loaded.done() else None
        return answer if isinstance(answer, LoadFailed) else None
