"""The models that are served now, and how they become others while requests run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType

from ai_core.catalog.models import Catalog, CatalogError, ModelEntry
from ai_core.catalog.plan import Changes, ModelPlan, changes_between
from ai_core.catalog.revision import Revision
from ai_core.engine_client.port import Engine
from ai_core.errors import EngineUnavailable, ModelsFileInvalid
from ai_core.inference.desks import Desk
from ai_core.inference.engine_room import EngineRoom
from ai_core.inference.served import ServedEngine
from ai_core.inference.service import Inference
from servicekit.logging import get_logger

_log = get_logger(__name__)


class ServedModels:
    """Plan, engine and revision of each model. All methods belong to one event loop."""

    def __init__(self, room: EngineRoom, revision_of: Callable[[ModelPlan], Revision]) -> None:
        self._room = room
        self._revision_of = revision_of
        self._plans: dict[str, ModelPlan] = {}
        self._revisions: dict[str, Revision] = {}

    @property
    def plans(self) -> Mapping[str, ModelPlan]:
        """By name; a live view."""
        return MappingProxyType(self._plans)

    @property
    def revisions(self) -> Mapping[str, Revision]:
        """By name, of models that were removed, too: their last requests may still be under way."""
        return MappingProxyType(self._revisions)

    @property
    def engines(self) -> Mapping[str, ServedEngine]:
        """By name; a live view."""
        return self._room.engines

    def take(self, plans: Iterable[ModelPlan]) -> Changes:
        """Serve these models from now on. Engines of removed ones stay until :meth:`drop`."""
        after = {plan.entry.name: plan for plan in plans}
        changes = changes_between(self._plans, after.values())
        for name in (*changes.added, *changes.changed):
            self._room.place(after[name])
            self._revisions[name] = self._revision_of(after[name])
        self._plans.clear()
        self._plans.update(after)
        return changes

    def drop(self, name: str) -> None:
        """Nobody is answered any more by a model that was removed. If it came back meanwhile, it stays."""
        if name not in self._plans:
            self._room.remove(name)


def begin_to_load(engine: ServedEngine) -> None:
    """Load a model, so that the first answer comes soon. The first request would do it, too."""
    try:
        engine.start()
    except EngineUnavailable as error:
        _log.warning("preload failed", error=error.code)


async def reload_or_log(reload: Callable[[], Awaitable[Changes]]) -> None:
    """As :meth:`Reloader.reload`, where nobody waits for the outcome."""
    try:
        await reload()
    except ModelsFileInvalid as error:
        _log.error("models not reloaded", mistake=error.message)


class Reloader:
    """Reads the models file again, and looks for files that have come. One at a time."""

    def __init__(
        self,
        read: Callable[[], Catalog],
        plan: Callable[[ModelEntry], ModelPlan],
        models: ServedModels,
        inference: Inference,
    ) -> None:
        """``read`` and ``plan`` look at the disk, and are called in a thread."""
        self._read = read
        self._plan = plan
        self._models = models
        self._inference = inference
        self._turn = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    async def reload(self) -> Changes:
        """Serve what the models file says now. Requests under way end as they began.

        Raises:
            ModelsFileInvalid: it has a mistake, and nothing has changed.
        """
        async with self._turn:
            try:
                catalog, plans = await asyncio.to_thread(self._read_and_plan)
            except CatalogError as error:
                raise ModelsFileInvalid(f"The models are as before. {error}") from error
            return self._serve(catalog, plans)

    async def look_again(self, name: str) -> Engine | None:
        """The engine of a model whose files were not here; None: they are still not."""
        async with self._turn:
            known = self._models.plans.get(name)
            if known is None or not known.absent:
                return self._models.engines.get(name)
            plan = await asyncio.to_thread(self._plan, known.entry)
            if plan.absent:
                return None
            plans = [plan if one is known else one for one in self._models.plans.values()]
            self._serve(self._inference.catalog, plans)
            return self._models.engines[name]

    async def close(self) -> None:
        """Wait for nobody any more."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    def _read_and_plan(self) -> tuple[Catalog, list[ModelPlan]]:
        catalog = self._read()
        return catalog, [self._plan(entry) for entry in catalog.entries]

    def _serve(self, catalog: Catalog, plans: Iterable[ModelPlan]) -> Changes:
        changes = self._models.take(plans)
        for desk in self._inference.change(catalog, self._models.engines):
            task = asyncio.create_task(self._retire(desk))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        for name in (*changes.added, *changes.changed):
            entry = self._models.plans[name].entry
            if entry.preload or entry.pinned:
                begin_to_load(self._models.engines[name])
        if changes.added or changes.changed or changes.removed:
            _log.info("models changed", added=changes.added, changed=changes.changed, removed=changes.removed)
        return changes

    async def _retire(self, desk: Desk) -> None:
        await self._inference.retire(desk)
        self._models.drop(desk.entry.name)
