"""All engines of this server, and who of them is in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import EngineConfig
from ai_core.residency.backoff import RestartPolicy
from ai_core.residency.life import Patience
from ai_core.residency.spawn import EngineSpawner
from ai_core.residency.supervisor import SupervisedEngine


class Fleet:
    """The engines of all models that run in processes of ours. The set may change at any time; all
    methods belong to one event loop.

    An engine that was handed out stays the engine of its model for as long as the model is here: what
    changes is how its next process is started.
    """

    def __init__(
        self,
        spawner: EngineSpawner,
        *,
        patience: Patience = Patience(),
        restart_policy: RestartPolicy = RestartPolicy(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spawner = spawner
        self._patience = patience
        self._restart_policy = restart_policy
        self._clock = clock
        self._engines: dict[str, SupervisedEngine] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def engines(self) -> Mapping[str, SupervisedEngine]:
        """By name; a live view."""
        return MappingProxyType(self._engines)

    def engine(self, name: str) -> SupervisedEngine:
        """The engine of a model. Raises KeyError."""
        return self._engines[name]

    def add(self, entry: ModelEntry, config: EngineConfig) -> SupervisedEngine:
        """A model that is new here. Nothing is loaded yet. Raises ValueError if its name is taken."""
        if entry.name in self._engines:
            raise ValueError(f"there is an engine of the model {entry.name!r} already")
        engine = SupervisedEngine(
            entry.name,
            config,
            self._spawner,
            patience=self._patience,
            restart_policy=self._restart_policy,
            clock=self._clock,
        )
        self._engines[entry.name] = engine
        return engine

    def replace(self, entry: ModelEntry, config: EngineConfig) -> SupervisedEngine:
        """A model that has changed. Requests under way end as they began; the next process is started
        with ``config``. Where only the entry changed, no process ends. Raises KeyError.
        """
        self.remove(entry.name)
        return self.add(entry, config)

    def remove(self, name: str) -> None:
        """A model that is no longer here. Its requests under way are answered, then its process ends.
        Raises KeyError."""
        engine = self._engines.pop(name)
        task = asyncio.create_task(engine.close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """End all engine processes, side by side. What still runs in them fails."""
        await asyncio.gather(*(engine.close() for engine in self._engines.values()), *self._leaving)
