"""LoRA adapters of one model, changed while its engine runs, and kept over its processes."""

from __future__ import annotations

from ai_core.engine.messages import AdapterFile, AdapterReply
from ai_core.engine_client.answer import EngineLost
from ai_core.errors import AdapterBusy, AdapterNotFound, InvalidRequest, NeoError
from ai_core.residency import unavailable
from ai_core.residency.keeper import EngineKeeper

_WITHOUT_PROCESS = frozenset({"stopped", "parked"})
_RETRY_BUSY = 1.0
_RETRY_LOST = 1.0


class EngineAdapters:
    """The adapters of the process of now and of all later ones. All methods belong to one event loop."""

    def __init__(self, model: str, keeper: EngineKeeper) -> None:
        self._model = model
        self._keeper = keeper

    @property
    def files(self) -> tuple[AdapterFile, ...]:
        """What requests may name."""
        changed = self._keeper.adapters
        return tuple(self._keeper.config.adapters) if changed is None else changed

    async def load(self, file: AdapterFile) -> None:
        """See ``engine_client.port.Adaptable.load_adapter``."""
        if any(known.name == file.name for known in self.files):
            message = f"The model '{self._model}' has an adapter '{file.name}' already: unload it first."
            raise InvalidRequest(message, code="adapter_exists", parameter="name")
        if self._keeper.state not in _WITHOUT_PROCESS:
            life = await self._keeper.serving(None)
            try:
                reply = await life.engine.load_adapter(file)
            except EngineLost as error:
                raise self._lost() from error
            self._check(reply)
        self._keeper.adapters = (*self.files, file)

    async def unload(self, name: str) -> None:
        """See ``engine_client.port.Adaptable.unload_adapter``."""
        if all(known.name != name for known in self.files):
            raise AdapterNotFound(f"The model '{self._model}' has no adapter '{name[:80]}'.")
        if self._keeper.state not in _WITHOUT_PROCESS:
            life = await self._keeper.serving(None)
            try:
                reply = await life.engine.unload_adapter(name)
            except EngineLost as error:
                raise self._lost() from error
            self._check(reply)
        self._keeper.adapters = tuple(known for known in self.files if known.name != name)

    def _check(self, reply: AdapterReply) -> None:
        sentence = reply.message[:1].upper() + reply.message[1:] + "."
        match reply.problem:
            case "":
                return
            case "unusable":
                raise InvalidRequest(sentence, code="unusable_adapter", parameter="path")
            case "busy":
                raise AdapterBusy(sentence, retry_after=_RETRY_BUSY)
            case "unknown":
                raise AdapterNotFound(sentence)
            case "not_supported":
                raise InvalidRequest(sentence, code="model_not_capable", parameter="model")

    def _lost(self) -> NeoError:
        return unavailable.restarting(self._model, _RETRY_LOST)
