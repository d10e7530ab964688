"""Services from the zygote, as a run sees them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class End:
    """Of a process."""

    status: int
    """Negative: the signal that ended it."""
    cpu: float
    """Seconds."""


class Zygote:
    """Forks services; outlives event loops."""

    def __init__(self, module: str) -> None:
        """``module``: that calls :func:`chaos.zygote.serve`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._ended: dict[int, End] = {}
        self._pids: list[int] = []
        self._rest = b""

    def fork(self, order: Mapping[str, Any]) -> int:
        """The process id of a new service."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        while not self._pids:
            self._read()
        return self._pids.pop()

    async def wait(self, pid: int) -> End:
        """Until a service has ended."""
        loop = asyncio.get_running_loop()
        while pid not in self._ended:
            news = asyncio.Event()
            loop.add_reader(self._out, news.set)
            try:
                await news.wait()
            finally:
                loop.remove_reader(self._out)
            self._read()
        return self._ended[pid]

    def look(self) -> None:
        """Read what the zygote has said by now."""
        if select.select([self._out], [], [], 0)[0]:
            self._read()

    def has_ended(self, pid: int) -> bool:
        """Whether it is known to be over."""
        return pid in self._ended

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """A signal for a service that may have ended."""
        if not self.has_ended(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        """End all."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    @property
    def _out(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _read(self) -> None:
        data = os.read(self._out, 65_536)
        assert data, "the zygote has ended"
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "ended" in answer:
                self._ended[answer["ended"]] = End(answer["status"], answer["cpu"])
            else:
                self._pids.append(answer["pid"])
