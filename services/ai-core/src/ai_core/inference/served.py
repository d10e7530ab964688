"""What the edge may know about the engines: their state, for health and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from ai_core.engine_client.port import Engine
from ai_core.residency.recovery import Cause


class ServedEngine(Engine, Protocol):
    """An engine that is looked after: started when needed, replaced when it dies."""

    @property
    def state(self) -> str:
        """``stopped``, ``loading``, ``ready``, ``restarting`` or ``parked``."""

    @property
    def load_progress(self) -> float:
        """Of the weights, 0 to 1."""

    @property
    def restarts(self) -> Mapping[Cause, int]:
        """How often the engine was replaced, by cause."""

    def start(self) -> None:
        """Begin to load the model; returns at once. Raises EngineUnavailable."""


class AllEngines(Mapping[str, ServedEngine]):
    """Engines of several kinds as one live view, by the names of their models. No two have one name."""

    def __init__(self, *kinds: Mapping[str, ServedEngine]) -> None:
        self._kinds = kinds

    def __getitem__(self, name: str) -> ServedEngine:
        for engines in self._kinds:
            if (engine := engines.get(name)) is not None:
                return engine
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        for engines in self._kinds:
            yield from engines

    def __len__(self) -> int:
        return sum(map(len, self._kinds))
