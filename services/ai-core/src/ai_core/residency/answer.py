"""An answer that survives the end of the engine that began it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ai_core.engine.messages import Delta, Finished, Submit
from ai_core.engine_client.answer import EngineLost, SocketAnswer
from ai_core.residency.life import EngineLife


@dataclass(frozen=True, slots=True)
class Placed:
    """A request, the process that works on it, and the answer coming from there."""

    request: Submit
    life: EngineLife
    answer: SocketAnswer


class SupervisedAnswer:
    """Implements :class:`ai_core.engine_client.port.Answer`. When the engine is lost, the next event
    is waited for at its successor, if the request may go there; nothing comes twice."""

    def __init__(
        self,
        placed: Placed,
        replace: Callable[[Placed, EngineLost], Awaitable[Placed]],
        finished: Callable[[Placed, Finished], None],
    ) -> None:
        """``replace`` finds a new place or raises; ``finished`` hears of a complete answer."""
        self.prompt_tokens = placed.answer.prompt_tokens
        self._placed = placed
        self._replace = replace
        self._finished = finished
        self._cancelled = False

    @property
    def started(self) -> bool:
        return self._placed.answer.started

    def __aiter__(self) -> SupervisedAnswer:
        return self

    async def __anext__(self) -> Delta | Finished:
        while True:
            try:
                event = await anext(self._placed.answer)
            except EngineLost as lost:
                if self._cancelled:
                    raise
                await self._move(lost)
            else:
                if isinstance(event, Finished):
                    self._finished(self._placed, event)
                return event

    def cancel(self) -> None:
        self._cancelled = True
        self._placed.answer.cancel()

    async def _move(self, lost: EngineLost) -> None:
        self._placed = await self._replace(self._placed, lost)
        if self._cancelled:
            self._placed.answer.cancel()
