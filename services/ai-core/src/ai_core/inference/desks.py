"""What a request to one model needs: its place to wait, its source of answers, its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from ai_core.catalog.models import ModelEntry
from ai_core.engine_client.port import Engine, Residing
from ai_core.inference.metrics import ModelMetrics
from ai_core.inference.repetition.source import SharingSource
from ai_core.inference.sources import AnswerSource


@dataclass(slots=True, eq=False)
class Desk:
    """Everything about one model as it is configured now. When the configuration changes, requests under
    way stay at their desk, and new ones go to another."""

    entry: ModelEntry
    engine: Engine
    source: AnswerSource
    metrics: ModelMetrics
    sharing: SharingSource | None = None
    """Of ``source``: what has to be closed at the end."""
    open_requests: int = 0
    _left: asyncio.Event | None = None

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A request is under way for as long as the block lasts."""
        self.open_requests += 1
        try:
            yield
        finally:
            self.open_requests -= 1
            if not self.open_requests and self._left is not None:
                self._left.set()

    def visit(self, keep_alive: float | None) -> AbstractContextManager[None]:
        """For the length of a request: its model stays in memory, and afterwards for so many seconds."""
        if isinstance(self.engine, Residing):
            return self.engine.visit(keep_alive)
        return nullcontext()

    async def empty(self) -> None:
        """Returns when nobody is here any more. To be asked when nobody new comes."""
        if self.open_requests:
            self._left = asyncio.Event()
            await self._left.wait()

    async def close(self) -> None:
        """Break off what is still computed or stored here."""
        if self.sharing is not None:
            await self.sharing.close()
