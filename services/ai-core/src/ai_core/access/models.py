"""Which of the models a caller may use, and which one a request of theirs means."""

from __future__ import annotations

from collections.abc import Sequence

from ai_core.access.caller import Caller
from ai_core.catalog.models import Catalog, ModelEntry, first_choice, unknown_model
from ai_core.errors import ModelNotFound


def models_of(caller: Caller, catalog: Catalog) -> Sequence[ModelEntry]:
    """The models that the caller may use, in the catalog's order. A model's alias stands for the model."""
    return [
        entry
        for entry in catalog.entries
        if any(caller.may_use(name) for name in (entry.name, *entry.aliases))
    ]


def model_and_adapter_for(caller: Caller, catalog: Catalog, name: str | None) -> tuple[ModelEntry, str]:
    """The model that a request means, and the adapter where the name is ``model:adapter``; else empty.

    Whether the model has such an adapter is not looked at. Raises ModelNotFound, as :func:`model_for`.
    """
    try:
        return model_for(caller, catalog, name), ""
    except ModelNotFound:
        base, colon, adapter = (name or "").rpartition(":")
        if not colon or not base or not adapter:
            raise
        known = [entry for entry in models_of(caller, catalog) if base in {entry.name, *entry.aliases}]
        if not known:
            raise
        return known[0], adapter


def stand_ins_for(caller: Caller, catalog: Catalog, entry: ModelEntry) -> list[ModelEntry]:
    """Who may answer this caller while a model is out of service. A key opens no further models for that."""
    allowed = models_of(caller, catalog)
    return [behind for behind in catalog.stand_ins(entry) if behind in allowed]


def model_for(caller: Caller, catalog: Catalog, name: str | None) -> ModelEntry:
    """The model that a request means; None: the key's default, else the server's, else the first allowed.

    Raises:
        ModelNotFound: there is none of that name, or the caller may not use it: who may not use a
            model is not told that it is there.
    """
    visible = models_of(caller, catalog)
    if not visible:
        raise ModelNotFound("Your API key may use none of the models here.", parameter="model")
    wanted = name if name is not None else caller.default_model
    if wanted is None:
        return catalog.default if catalog.default in visible else first_choice(visible)
    for entry in visible:
        if wanted == entry.name or wanted in entry.aliases:
            return entry
    raise unknown_model(wanted, visible)


def default_model_of(caller: Caller, catalog: Catalog) -> ModelEntry | None:
    """The model for requests of this caller that name none, if there is one."""
    try:
        return model_for(caller, catalog, None)
    except ModelNotFound:
        return None
