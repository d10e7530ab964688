"""The cores of this machine, shared by the engines that compute."""

from __future__ import annotations

from collections.abc import Iterable

from ai_core.residency.fleet_engine import FleetEngine
from ai_core.residency.threads import share_cores


class SharedCores:
    """Tells engines how many threads they may use. Those that rest keep what they had until they compute."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._threads: dict[FleetEngine, int] = {}

    def share(self, users: Iterable[FleetEngine]) -> None:
        """These engines compute now."""
        active = {str(engine.pid): engine for engine in users if engine.pid is not None}
        for pid, share in share_cores(self._cores, sorted(active)).items():
            engine = active[pid]
            threads = min(share, engine.supervised.config.threads or share)
            if self._threads.get(engine) != threads:
                self._threads[engine] = threads
                engine.supervised.apply_threads(threads, threads)

    def forget(self, engine: FleetEngine) -> None:
        """It is not here any more."""
        self._threads.pop(engine, None)
