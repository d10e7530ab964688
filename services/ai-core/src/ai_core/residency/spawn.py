"""Starts engine processes, as direct children with a CPU weight of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from ai_core.engine.messages import EngineConfig

# -P: a folder called ai_core in the working directory is not the engine.
ENGINE_COMMAND = (sys.executable, "-P", "-m", "ai_core.engine")
_NICE_BELOW_ENGINES = 10
_LOWEST_WEIGHT = 19
_POLL_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


class EngineProcess:
    """An engine process and our end of its socket. Used from one thread, so that no signal can meet
    a process id that was given to another process meanwhile."""

    def __init__(self, popen: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self.connection = connection
        self.was_killed = False
        """Whether :meth:`kill` was what ended it, as far as anybody can tell."""
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    def kill(self) -> None:
        """SIGKILL, which also ends a stopped process. Without effect if it is gone."""
        if self._popen.poll() is None:
            self.was_killed = True
            self._popen.kill()

    def abandon(self) -> None:
        """Kill and reap a process that nobody waited for."""
        self.connection.close()
        self.kill()
        self._popen.wait()

    async def exit_status(self, grace: float) -> int:
        """Wait for the end, after ``grace`` seconds with SIGKILL, and reap the process.

        Returns:
            As ``subprocess.Popen.returncode``: −n for signal n.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                return await self._reaped()
        self.kill()
        return await self._reaped()

    async def _reaped(self) -> int:
        # Nothing portable tells an event loop of the end of a child; this runs when it is close.
        polls = 0
        while (status := self._popen.poll()) is None:
            await asyncio.sleep(_POLL_SECONDS[min(polls, len(_POLL_SECONDS) - 1)])
            polls += 1
        return status


class EngineSpawner:
    """Starts engines from a thread of its own, which keeps the CPU weight that this process began with.

    On Linux the nice value belongs to a thread, and a child gets that of the thread which starts it.
    So the event loop can step back (see :meth:`lower_own_cpu_weight`) and engines need no privilege
    to stay in front of it.
    """

    def __init__(self, command: Sequence[str] = ENGINE_COMMAND) -> None:
        """``command`` is followed by the number of a file descriptor and a JSON document."""
        self._command = tuple(command)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine-spawner")
        # The first call creates the thread, with the weight of now.
        self._engine_nice = self._thread.submit(_own_nice).result()

    def lower_own_cpu_weight(self) -> None:
        """Give the calling thread, and those it starts from now on, less weight than engines have.

        Without this, a busy event loop takes from each step of the engine what it needs itself.
        Linux only; elsewhere nothing changes.
        """
        target = min(_LOWEST_WEIGHT, self._engine_nice + _NICE_BELOW_ENGINES)
        if sys.platform == "linux" and _own_nice() < target:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), target)

    async def start(self, config: EngineConfig) -> EngineProcess:
        """Start an engine process.

        Raises:
            OSError: the system refused a process or a socket.
        """
        started = self._thread.submit(self._spawn, config)
        try:
            return await asyncio.shield(asyncio.wrap_future(started))
        except asyncio.CancelledError:
            started.add_done_callback(_abandon)
            raise

    def close(self) -> None:
        """End the thread. Engines that were started live on."""
        self._thread.shutdown()

    def _spawn(self, config: EngineConfig) -> EngineProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                popen = subprocess.Popen(
                    [*self._command, str(theirs.fileno()), msgspec.json.encode(config).decode()],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=engine_environment(os.environ),
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        return EngineProcess(popen, ours)


def engine_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of an engine process.

    OpenMP threads that wait spin only briefly: two engines at full spin make each other's steps
    three times as long. Waiting without any spin (``OMP_WAIT_POLICY=passive``) would slow a lone
    stream by half, so it is not passed on.
    """
    environment = {name: value for name, value in inherited.items() if name != "OMP_WAIT_POLICY"}
    return environment | {"GOMP_SPINCOUNT": "1000"}


def _own_nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id() if sys.platform == "linux" else 0)


def _abandon(started: Future[EngineProcess]) -> None:
    if started.exception() is None:
        started.result().abandon()
