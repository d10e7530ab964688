"""What a request becomes when it is known who sends it."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ai_core.access.caller import Caller
from ai_core.access.models import model_for
from ai_core.catalog.models import Catalog
from ai_core.inference.embeddings import EmbeddingRequest
from ai_core.inference.requests import GenerationRequest

Request = TypeVar("Request", GenerationRequest, EmbeddingRequest)


def for_caller(request: Request, caller: Caller, catalog: Catalog, timeout: float | None = None) -> Request:
    """The request with its model, its place in the order, its owner and their limits settled.

    Args:
        timeout: seconds that the caller is ready to wait; None: as long as requests wait here.

    Raises:
        ModelNotFound: no such model, or not for this caller.
    """
    return replace(
        request,
        model=model_for(caller, catalog, request.model).name,
        key_id=caller.key_id,
        fairness_key=fairness_key(caller, request.user),
        priority=caller.priority.value,
        limits=caller.limits,
        timeout=timeout,
    )


def fairness_key(caller: Caller, user: str) -> str:
    """Whose turn it is, among those that wait: the key's, or that of each user of a trusted key.

    An id has no ``/``, so nobody can call their users like somebody else's.
    """
    return f"{caller.key_id}/{user}" if caller.fair_by_user and user else caller.key_id
