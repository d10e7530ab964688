"""Which LoRA adapters requests to a model may name."""

from __future__ import annotations

from collections.abc import Collection

from ai_core.catalog.models import MAX_NAME_ECHO, MAX_NAMES_SHOWN, ModelEntry
from ai_core.engine_client.port import Adaptable, Engine
from ai_core.errors import InvalidRequest


def adapters_of(entry: ModelEntry, engine: Engine) -> list[str]:
    """Those of the models file, with what was loaded and unloaded since."""
    if isinstance(engine, Adaptable):
        return [file.name for file in engine.adapters]
    listed = [adapter.name for adapter in entry.adapters]
    loaded = engine.ready.adapters if engine.ready is not None else []
    return list(dict.fromkeys([*listed, *loaded]))


def check_adapter(adapter: str, model: str, known: Collection[str]) -> None:
    """Raises InvalidRequest, code ``unknown_adapter``, for an adapter that the model does not have."""
    if not adapter or adapter in known:
        return
    shown = adapter if len(adapter) <= MAX_NAME_ECHO else adapter[:MAX_NAME_ECHO] + "…"
    names = ", ".join(list(known)[:MAX_NAMES_SHOWN])
    has = f"Its adapters: {names}." if names else "It has none."
    raise InvalidRequest(
        f"The model '{model}' has no adapter '{shown}'. {has}", code="unknown_adapter", parameter="adapter"
    )
