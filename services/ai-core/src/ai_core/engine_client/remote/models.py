"""All remote models of this server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from ai_core.engine_client.remote.engine import RemoteEngine
from ai_core.engine_client.remote.upstream import Upstream


class RemoteModels:
    """The engines of models that other servers answer for. The set may change at any time; all methods
    belong to one event loop."""

    def __init__(self) -> None:
        self._engines: dict[str, RemoteEngine] = {}
        self._leaving: dict[asyncio.Task[None], RemoteEngine] = {}

    @property
    def engines(self) -> Mapping[str, RemoteEngine]:
        """By name; a live view."""
        return MappingProxyType(self._engines)

    def put(
        self, name: str, upstream: Upstream, *, kind: Literal["generation", "embedding"] = "generation"
    ) -> RemoteEngine:
        """A model that is new here or has changed; it keeps its engine."""
        engine = self._engines.get(name)
        if engine is None:
            engine = self._engines[name] = RemoteEngine(name, upstream, kind=kind)
        else:
            engine.configure(upstream, kind=kind)
        return engine

    def remove(self, name: str) -> None:
        """A model that is no longer here. Its requests under way are answered. Raises KeyError."""
        engine = self._engines.pop(name)
        task = asyncio.create_task(_retire(engine))
        self._leaving[task] = engine
        task.add_done_callback(self._leaving.pop)

    async def close(self) -> None:
        """Hang up everywhere. Requests still running fail."""
        await asyncio.gather(
            *(engine.close() for engine in (*self._engines.values(), *self._leaving.values()))
        )
        await asyncio.gather(*self._leaving)


async def _retire(engine: RemoteEngine) -> None:
    await engine.until_idle()
    await engine.close()
