"""Where the engines of all models are: in processes of ours, on other servers, or not yet anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ai_core.catalog.models import ModelEntry
from ai_core.catalog.plan import ModelPlan
from ai_core.engine.messages import EngineConfig
from ai_core.engine_client.remote.models import RemoteModels
from ai_core.inference.absent import AbsentEngine, LookAgain
from ai_core.inference.served import AllEngines, ServedEngine
from ai_core.residency.fleet import Fleet


class EngineRoom:
    """Puts each model where its plan says. All methods belong to one event loop."""

    def __init__(
        self,
        fleet: Fleet,
        remotes: RemoteModels,
        put_remote: Callable[[ModelEntry], ServedEngine],
        config_of: Callable[[ModelPlan], EngineConfig],
        look_again: LookAgain,
    ) -> None:
        """``put_remote`` adds a remote model to ``remotes``, or changes it there; ``config_of`` tells how the
        process of a model is started."""
        self._fleet = fleet
        self._remotes = remotes
        self._put_remote = put_remote
        self._config_of = config_of
        self._look_again = look_again
        self._absent: dict[str, ServedEngine] = {}
        self.engines: Mapping[str, ServedEngine] = AllEngines(fleet.engines, remotes.engines, self._absent)
        """By name; a live view."""

    def place(self, plan: ModelPlan) -> ServedEngine:
        """The engine of a model that is new here, or has changed. Nothing is loaded yet."""
        entry = plan.entry
        if plan.absent:
            self.remove(entry.name)
            self._absent[entry.name] = AbsentEngine(entry, self._look_again)
            return self._absent[entry.name]
        self._absent.pop(entry.name, None)
        if entry.type == "remote":
            self._leave_fleet(entry.name)
            return self._put_remote(entry)
        self._leave_remotes(entry.name)
        config = self._config_of(plan)
        if entry.name in self._fleet.engines:
            return self._fleet.replace(entry, config)
        return self._fleet.add(entry, config)

    def remove(self, name: str) -> None:
        """A model that is no longer here; what is still under way there ends as it began."""
        self._absent.pop(name, None)
        self._leave_fleet(name)
        self._leave_remotes(name)

    def _leave_fleet(self, name: str) -> None:
        if name in self._fleet.engines:
            self._fleet.remove(name)

    def _leave_remotes(self, name: str) -> None:
        if name in self._remotes.engines:
            self._remotes.remove(name)
