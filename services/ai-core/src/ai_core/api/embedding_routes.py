"""OpenAI's route for embeddings."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ai_core.access.caller import Scope
from ai_core.api.context import ApiContext
from ai_core.api.embedding_answers import EmbeddingsResponse
from ai_core.api.embedding_requests import EmbeddingsBody
from ai_core.api.json_body import read_body
from ai_core.api.openapi import takes
from ai_core.api.route_access import needs


def embedding_routes(context: ApiContext) -> APIRouter:
    """``/v1/embeddings``."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.post("/embeddings", summary="Turn texts into vectors", openapi_extra=takes(EmbeddingsBody))
    @needs(Scope.EMBEDDINGS)
    async def embeddings(request: Request) -> Response:
        body = await read_body(request, EmbeddingsBody)
        return EmbeddingsResponse(
            context.inference, body.to_request(), as_base64=body.encoding_format == "base64"
        )

    return router
