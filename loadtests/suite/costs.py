"""What each part of the suite takes: processor time and memory, looked at once a second."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

LOOK_SECONDS = 1.0
ENGINES = "engine"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one part while it was looked at."""

    cpu: float
    """Seconds, of all cores together."""
    share: float
    """Of one core."""
    memory: float
    """MB at most; what processes share is counted once for each of them by its part (PSS)."""


@dataclass
class Costs:
    """Looks at parts by their first process. The children of the AI core are its engines."""

    parts: Mapping[str, psutil.Process]
    core: str
    _seconds: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)
    """By part and process: at the first look, and at the last one."""
    _memory: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _looks: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Until the block ends."""
        self._look()
        watching = threading.Thread(target=self._watch)
        watching.start()
        try:
            yield
        finally:
            self._over.set()
            watching.join()
            self._look()

    def told(self, seconds: float) -> dict[str, Cost]:
        """By part, after so many seconds."""
        spent: dict[str, float] = dict.fromkeys(self._memory, 0.0)
        for (part, _), (first, last) in self._seconds.items():
            spent[part] += last - first
        return {part: Cost(cpu, cpu / seconds, self._memory[part]) for part, cpu in spent.items()}

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        memory: dict[str, float] = {}
        for name, first in self.parts.items():
            with contextlib.suppress(psutil.Error):
                for process in [first, *first.children(recursive=True)]:
                    part = ENGINES if name == self.core and process != first else name
                    self._look_at(part, process, memory)
        self._looks += 1
        for part, most in memory.items():
            self._memory[part] = max(most, self._memory.get(part, 0.0))

    def _look_at(self, part: str, process: psutil.Process, memory: dict[str, float]) -> None:
        # One that served a connection may have ended just now.
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds = times.user + times.system
            # One that came later began at nothing.
            first = self._seconds.get((part, process.pid), (0.0 if self._looks else seconds, 0.0))[0]
            self._seconds[part, process.pid] = first, seconds
            memory[part] = memory.get(part, 0.0) + process.memory_full_info().pss / 1e6
