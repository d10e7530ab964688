"""What a request becomes when it is known who sends it."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ai_core.access.caller import Caller
from ai_core.access.models import model_and_adapter_for, stand_ins_for
from ai_core.catalog.models import Catalog
from ai_core.errors import InvalidRequest
from ai_core.inference.embeddings import EmbeddingRequest
from ai_core.inference.requests import GenerationRequest

Request = TypeVar("Request", GenerationRequest, EmbeddingRequest)


def for_caller(request: Request, caller: Caller, catalog: Catalog, timeout: float | None = None) -> Request:
    """The request with its model, its place in the order, its owner and their limits settled.

    Args:
        timeout: seconds that the caller is ready to wait; None: as long as requests wait here.

    Raises:
        ModelNotFound: no such model, or not for this caller.
        InvalidRequest: the name of the model and the field ``adapter`` name two adapters.
    """
    entry, adapter = model_and_adapter_for(caller, catalog, request.model)
    if isinstance(request, GenerationRequest):
        stand_ins = stand_ins_for(caller, catalog, entry)
        request = replace(
            request,
            adapter=_one_adapter(request.adapter, adapter),
            fallbacks=tuple(behind.name for behind in stand_ins),
        )
    elif adapter:
        raise InvalidRequest("Vectors are made without adapters: name the model alone.", parameter="model")
    return replace(
        request,
        model=entry.name,
        key_id=caller.key_id,
        fairness_key=fairness_key(caller, request.user),
        priority=caller.priority.value,
        limits=caller.limits,
        timeout=timeout,
    )


def _one_adapter(field: str, in_name: str) -> str:
    if field and in_name and field != in_name:
        raise InvalidRequest(
            "'model' names one adapter behind its colon, and 'adapter' another: send one of them.",
            parameter="adapter",
        )
    return field or in_name


def fairness_key(caller: Caller, user: str) -> str:
    """Whose turn it is, among those that wait: the key's, or that of each user of a trusted key.

    An id has no ``/``, so nobody can call their users like somebody else's.
    """
    return f"{caller.key_id}/{user}" if caller.fair_by_user and user else caller.key_id
