"""A model that is listed, and whose files are not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import Ready, Stats, Submit
from ai_core.engine_client.port import Answer, Engine
from ai_core.errors import ModelNotFetched
from ai_core.residency.recovery import Cause

LookAgain = Callable[[str], Awaitable[Engine | None]]
"""The engine of a model, by its name, if its files have come meanwhile."""


class AbsentEngine:
    """Implements :class:`ai_core.inference.served.ServedEngine`. Each request looks at the disk again, so a
    model that was fetched beside the running server is served without more ado."""

    state = "not_fetched"
    load_progress = 0.0
    restarts: Mapping[Cause, int] = {}
    ready: Ready | None = None
    stats = Stats()

    def __init__(self, entry: ModelEntry, look_again: LookAgain) -> None:
        self.entry = entry
        self._look_again = look_again

    def start(self) -> None:
        """Raises ModelNotFetched."""
        raise not_fetched(self.entry)

    async def submit(self, request: Submit) -> Answer:
        """As the port says. Raises ModelNotFetched, too."""
        engine = await self._look_again(self.entry.name)
        if engine is None or engine is self:
            raise not_fetched(self.entry)
        return await engine.submit(request)

    async def set_threads(self, decode: int, batch: int) -> None:
        """There is nobody to tell."""

    async def close(self) -> None:
        """There is nothing to end."""


def not_fetched(entry: ModelEntry) -> ModelNotFetched:
    """What a caller is told, and by whom it can be changed."""
    if entry.hub is not None:
        return ModelNotFetched(
            f"The model '{entry.name}' was not fetched yet: run `ai-core models pull {entry.name}`, or send "
            "its name to /api/v1/models/pull."
        )
    return ModelNotFetched(
        f"The files of the model '{entry.name}' are not on this server: put them where the models file says, "
        "or correct its 'path' there."
    )
