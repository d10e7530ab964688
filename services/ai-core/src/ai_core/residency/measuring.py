"""What the models in memory hold, measured again and again while they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ai_core.residency.fleet_engine import FleetEngine

MEASURE_SECONDS = 1.0
"""So often a model that is used is measured."""


class Measuring:
    """Tells the footprints of models what was measured."""

    def __init__(self, measure: Callable[[int, list[Path]], int], clock: Callable[[], float]) -> None:
        """``measure`` tells what a process holds, from its id and the files of its model."""
        self._measure = measure
        self._clock = clock
        self._measured_at: dict[FleetEngine, float] = {}

    def look(self, engines: Iterable[FleetEngine]) -> None:
        """Measure those that were used since they were last measured, unless that is a moment ago."""
        now = self._clock()
        for engine in engines:
            last = self._measured_at.get(engine, 0.0)
            used = engine.users > 0 or engine.idle_since >= last
            if engine.phase == "ready" and used and now - last >= MEASURE_SECONDS:
                self.measure(engine)

    def measure(self, engine: FleetEngine) -> None:
        """Measure a model now."""
        self._measured_at[engine] = self._clock()
        engine.footprint.note(self.held(engine), answered=engine.answered)

    def held(self, engine: FleetEngine) -> int:
        """Bytes of its process now; 0 where there is none, or that cannot be told."""
        files = [Path(engine.supervised.config.model_path)]
        return 0 if engine.pid is None else self._measure(engine.pid, files)

    def forget(self, engine: FleetEngine) -> None:
        """Its process is gone."""
        self._measured_at.pop(engine, None)
