"""What a load costs: the service's memory, and the processor time of everything that runs for it."""

from __future__ import annotations

import contextlib

import psutil

OF = {
    "telegram-service": "the service",
    "postgres": "PostgreSQL",
    "loadtests.telegram.city": "Telegram and the AI core",
    "locust": "people",
}
"""Words of a command line, and who that is."""


class Costs:
    """Looked at now and then: of a process that has ended, the last look counts."""

    def __init__(self, service: psutil.Process) -> None:
        self.memory: list[float] = []
        """Of the service, in MB."""
        self._service = service
        self._cpu: dict[int, tuple[str, float]] = {}
        """By process: who it is, and its seconds."""
        self.look()
        self._before = self.cpu

    @property
    def cpu(self) -> dict[str, float]:
        """Seconds, by who took them."""
        sums = dict.fromkeys(OF.values(), 0.0)
        for who, seconds in self._cpu.values():
            sums[who] += seconds
        return sums

    def look(self) -> None:
        """A sample."""
        self.memory.append(self._service.memory_info().rss / 1e6)
        for process in psutil.Process().children(recursive=True):
            # One that served a connection may have ended just now.
            with contextlib.suppress(psutil.Error):
                line, times = " ".join(process.cmdline()), process.cpu_times()
                who = next((name for words, name in OF.items() if words in line), None)
                if who is not None:
                    self._cpu[process.pid] = who, times.user + times.system

    def told(self, messages: int) -> str:
        """Milliseconds for each of so many messages, since the first look."""
        spent = {who: seconds - self._before[who] for who, seconds in self.cpu.items()}
        return ", ".join(f"{who} {1e3 * each / messages:.1f}" for who, each in spent.items() if each)
