"""From what somebody asks for to an order: a model of the models file, or any repository. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ai_core.catalog.hub.choice import Form
from ai_core.catalog.hub.messages import Order
from ai_core.catalog.models import Catalog, HubSource, ModelEntry
from ai_core.catalog.places import hub_folder
from ai_core.errors import InvalidRequest, ModelNotFound

REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for everything that is fetched here."""

    models_dir: Path
    endpoint: str
    token: str | None = field(default=None, repr=False)
    budget: int = 0
    """Bytes of memory for all models together; 0: not known."""


def order_for(name: str, catalog: Catalog, terms: Terms) -> Order:
    """The order for a model by its name or alias, or for a repository ``owner/name``.

    Raises:
        ModelNotFound: neither.
        InvalidRequest: the model is not from the hub.
    """
    try:
        return order_of(catalog.resolve(name), terms)
    except ModelNotFound:
        if not REPOSITORY.fullmatch(name):
            raise
    return order_of_repository(HubSource(name), terms)


def order_of(entry: ModelEntry, terms: Terms) -> Order:
    """The order for a model of the models file. Raises InvalidRequest."""
    if entry.hub is None or entry.type == "remote":
        where = "on another server" if entry.type == "remote" else f"at {entry.path}"
        raise InvalidRequest(
            f"The model '{entry.name}' is not from the hub: it is {where}.",
            code="not_from_hub",
            parameter="name",
        )
    return Order(
        repository=entry.hub.repository,
        revision=entry.hub.revision,
        form=entry.type,
        pattern=entry.hub.pattern,
        quantization=entry.quantization,
        remote_code=entry.trust_remote_code,
        budget=min(filter(None, (entry.max_memory, terms.budget)), default=0),
        folder=str(entry.path),
        endpoint=terms.endpoint,
        token=terms.token,
    )


def order_of_repository(
    hub: HubSource, terms: Terms, form: Form | None = None, quantization: str = "none"
) -> Order:
    """The order for what a repository offers."""
    return Order(
        repository=hub.repository,
        revision=hub.revision,
        form=form,
        pattern=hub.pattern,
        quantization=quantization,
        budget=terms.budget,
        folder=str(hub_folder(terms.models_dir, hub)),
        endpoint=terms.endpoint,
        token=terms.token,
    )
