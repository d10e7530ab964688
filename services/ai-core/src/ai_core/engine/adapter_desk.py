"""LoRA adapters as operators ask for them: added and removed while requests run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ai_core.engine.backends.adapter_port import Adapters, BadAdapter
from ai_core.engine.backends.port import Capabilities
from ai_core.engine.messages import AdapterReply, LoadAdapter, Message, UnloadAdapter


class AdapterDesk:
    """Answers each message with one :class:`.messages.AdapterReply`.

    Args:
        adapters: None where the backend takes adapters only when it is loaded.
        capabilities: the backend's.
        send: takes every outgoing message.
    """

    def __init__(
        self, adapters: Adapters | None, capabilities: Capabilities, send: Callable[[Message], None]
    ) -> None:
        self._adapters = adapters
        self._capabilities = capabilities
        self._send = send

    def load(self, message: LoadAdapter) -> None:
        """Make an adapter known."""
        if self._adapters is None:
            self._not_supported(message.id)
            return
        try:
            self._adapters.add(message.adapter)
        except BadAdapter as error:
            names = list(self._adapters.names())
            self._send(AdapterReply(id=message.id, adapters=names, problem="unusable", message=str(error)))
        else:
            self._send(AdapterReply(id=message.id, adapters=list(self._adapters.names())))

    def unload(self, message: UnloadAdapter, in_use: Iterable[str]) -> None:
        """Forget an adapter. ``in_use``: the adapter of each request under way."""
        if self._adapters is None:
            self._not_supported(message.id)
            return
        name, names = message.name, list(self._adapters.names())
        users = sum(adapter == name for adapter in in_use)
        if name not in names:
            text = f"this model has no adapter '{name[:80]}'"
            self._send(AdapterReply(id=message.id, adapters=names, problem="unknown", message=text))
        elif users:
            text = f"the adapter '{name}' is in use by {users} requests; try again when they are answered"
            self._send(AdapterReply(id=message.id, adapters=names, problem="busy", message=text))
        else:
            self._adapters.remove(name)
            self._send(AdapterReply(id=message.id, adapters=list(self._adapters.names())))

    def _not_supported(self, message_id: int) -> None:
        text = (
            f"{self._capabilities.name} takes adapters only when it is loaded: list them in the models file"
        )
        names = list(self._capabilities.adapters)
        self._send(AdapterReply(id=message_id, adapters=names, problem="not_supported", message=text))
