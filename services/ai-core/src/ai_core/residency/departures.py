"""Those who wait until a model has left memory."""

from __future__ import annotations

import asyncio

from ai_core.residency.fleet_engine import FleetEngine
from ai_core.residency.planning import Cause


class Departures:
    """All methods belong to one event loop."""

    def __init__(self) -> None:
        self._expected: dict[FleetEngine, list[asyncio.Future[None]]] = {}

    def expect(self, engine: FleetEngine) -> asyncio.Future[None]:
        """Done when the process of this model is gone."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected.setdefault(engine, []).append(gone)
        return gone

    def note(self, engine: FleetEngine) -> None:
        """It is gone."""
        for gone in self._expected.pop(engine, ()):
            if not gone.done():
                gone.set_result(None)

    def forget(self, engine: FleetEngine, gone: asyncio.Future[None]) -> None:
        """One does not wait any longer. If nobody else does, a model that was asked to leave may stay."""
        waiting = self._expected.get(engine, [])
        if gone in waiting:
            waiting.remove(gone)
            if not waiting and engine.leave is Cause.ASKED:
                engine.leave = None
