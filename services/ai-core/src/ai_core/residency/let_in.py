"""An answer that counts as a use of its model until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ai_core.engine.messages import Delta, Finished
from ai_core.engine_client.port import Answer


class LetIn:
    """Implements :class:`ai_core.engine_client.port.Answer`. ``left`` is called once: at the end of the
    answer, when it breaks off, is cancelled or dropped. It hears whether the answer was given to its end."""

    def __init__(self, answer: Answer, left: Callable[[bool], None]) -> None:
        self.prompt_tokens = answer.prompt_tokens
        self._answer = answer
        self._events = aiter(answer)
        self._left: Callable[[bool], None] | None = left
        self._loop = asyncio.get_running_loop()

    @property
    def started(self) -> bool:
        return self._answer.started

    def __aiter__(self) -> LetIn:
        return self

    async def __anext__(self) -> Delta | Finished:
        try:
            event = await anext(self._events)
        except asyncio.CancelledError:
            # Who reads may come back; who does not cancels.
            raise
        except BaseException:
            self._leave(complete=False)
            raise
        if isinstance(event, Finished):
            self._leave(complete=True)
        return event

    def cancel(self) -> None:
        self._answer.cancel()
        self._leave(complete=False)

    def _leave(self, *, complete: bool) -> None:
        left, self._left = self._left, None
        if left is not None:
            left(complete)

    def __del__(self) -> None:
        # The garbage collector may call this in any thread, and after the loop.
        left = getattr(self, "_left", None)
        if left is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(left, False)
