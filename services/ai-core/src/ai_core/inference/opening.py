"""Whether new requests are taken, and how many are under way: what draining needs to know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ai_core.errors import EngineUnavailable


class OpenRequests:
    """Counts requests under way; once closed, lets nobody in.

    ``retry_after`` is what those who come later are told, in seconds.
    """

    def __init__(self, retry_after: float) -> None:
        self._retry_after = retry_after
        self._nobody = asyncio.Event()
        self._nobody.set()
        self.count = 0
        self.closed = False

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be counted for the length of a with block. Raises EngineUnavailable once closed."""
        self.refuse_if_closed()
        self.count += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self.count -= 1
            if not self.count:
                self._nobody.set()

    def refuse_if_closed(self) -> None:
        """Raises EngineUnavailable, code ``shutting_down``, once closed."""
        if self.closed:
            raise EngineUnavailable(
                "This server is shutting down and takes no new requests. Try again soon.",
                code="shutting_down",
                retry_after=self._retry_after,
            )

    def close(self) -> None:
        """Let nobody in from now on."""
        self.closed = True

    async def wait_until_nobody(self) -> None:
        """Returns when no request is under way."""
        await self._nobody.wait()
