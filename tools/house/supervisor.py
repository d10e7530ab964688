"""Runs the AI core and its channels as processes until a signal, or until the core ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
import urllib.error
import urllib.request
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from house.plan import House, Service

UNUSABLE = 2
"""The exit status of a service whose settings have to be changed: starting it again would not help."""
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.2
ANSWER_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

Say = Callable[[str], None]


def say(text: str) -> None:
    """To the operator, among the services' logs."""
    print(text, file=sys.stderr, flush=True)


def wait_before(restart: int) -> float:
    """Seconds before a service is started again.

    Args:
        restart: how often it has died soon after its start, 1 or more.
    """
    return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (restart - 1))


class Supervisor:
    """One house, from start to end.

    Signals come to the supervisor alone: the channels end first, as they need the core for the answers that
    they are just sending.
    """

    def __init__(self, house: House, tell: Say = say, *, first_wait: float = FIRST_WAIT_SECONDS) -> None:
        self._house = house
        self._tell = tell
        self._hurry = first_wait / FIRST_WAIT_SECONDS
        self._running: dict[str, Process] = {}
        self._ending = asyncio.Event()
        self._signals = 0

    async def run(self) -> int:
        """Returns the core's exit status; 0 after a signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        core = await self._start(self._house.core)
        async with _task(self._channels()) as channels:
            ended = asyncio.create_task(core.wait())
            stopped = asyncio.create_task(self._ending.wait())
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not self._ending.is_set():
                self._tell(f"The AI core has ended with status {core.returncode}; its channels end with it.")
                self._ending.set()
            self._signal(signal.SIGTERM, but=self._house.core)
            await channels
            self._signal(signal.SIGTERM)
            status = await ended
            await stopped
        return 0 if self._signals else status

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self._ending.set()
        else:
            # Whoever insists does not want to wait for answers.
            self._signal(signal.SIGTERM if self._signals == 2 else signal.SIGKILL)

    async def _channels(self) -> None:
        if self._house.channels and await self._core_answers():
            await asyncio.gather(*(self._keep(channel) for channel in self._house.channels))

    async def _core_answers(self) -> bool:
        """Wait until it does; False: this house ends before."""
        while not self._ending.is_set():
            if await asyncio.to_thread(_answers, f"{self._house.core_url}/livez"):
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), LOOK_SECONDS)
        return False

    async def _keep(self, channel: Service) -> None:
        """Run a channel, again and again, until this house ends."""
        loop, deaths = asyncio.get_running_loop(), 0
        while not self._ending.is_set():
            began = loop.time()
            process = await self._start(channel)
            status = await process.wait()
            del self._running[channel.name]
            if self._ending.is_set():
                return
            if status == UNUSABLE:
                self._tell(f"The {channel.name} is off: change its settings, then type `make run` again.")
                return
            deaths = 1 if loop.time() - began > LONGEST_WAIT_SECONDS else deaths + 1
            wait = wait_before(deaths) * self._hurry
            self._tell(f"The {channel.name} has ended with status {status}; it starts again in {wait:.0f} s.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), wait)

    async def _start(self, service: Service) -> Process:
        process = await asyncio.create_subprocess_exec(
            *map(str, service.command),
            env=dict(service.environment),
            stdin=DEVNULL,
            # Ctrl-C is for the supervisor, which ends its children in order ...
            start_new_session=True,
            # ... and should it be killed, they end, too.
            preexec_fn=_die_with_parent,
        )
        self._running[service.name] = process
        if self._ending.is_set() and service is not self._house.core:
            process.send_signal(signal.SIGTERM)
        return process

    def _signal(self, number: signal.Signals, but: Service | None = None) -> None:
        for name, process in self._running.items():
            if process.returncode is None and (but is None or name != but.name):
                process.send_signal(number)


def _answers(url: str) -> bool:
    try:
        # An own opener: no proxy of the environment is asked for a neighbour.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=ANSWER_SECONDS):
            return True
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@asynccontextmanager
async def _task(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
