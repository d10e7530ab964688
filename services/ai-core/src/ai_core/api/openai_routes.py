"""OpenAI's routes: what works with their client libraries works here."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response

from ai_core.access.caller import Scope
from ai_core.access.models import model_for, models_of
from ai_core.api.answer_format import AnswerFormat
from ai_core.api.answering import AnswerResponse
from ai_core.api.completion_answers import CompletionFormat
from ai_core.api.completion_requests import CompletionBody
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
from ai_core.api.json_body import read_body
from ai_core.api.openai_answers import OpenAIFormat
from ai_core.api.openai_requests import ChatCompletionBody
from ai_core.api.openapi import takes
from ai_core.api.route_access import needs


def openai_routes(context: ApiContext) -> APIRouter:
    """The routes under /v1."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])
    catalog = context.inference.catalog

    def described(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": int(context.started_at), "owned_by": "neo"}

    @router.post(
        "/chat/completions", summary="Answer a conversation", openapi_extra=takes(ChatCompletionBody)
    )
    @needs(Scope.GENERATE)
    async def chat_completions(request: Request) -> Response:
        body = await read_body(request, ChatCompletionBody)

        def format_for(request_id: str, model: str) -> AnswerFormat:
            return OpenAIFormat(
                request_id,
                int(time.time()),
                model,
                include_usage=body.include_usage,
                reasoning=bool(body.reasoning),
            )

        return AnswerResponse(
            context.inference,
            body.to_requests(),
            format_for,
            stream=bool(body.stream),
            text_field="messages",
        )

    @router.post("/completions", summary="Continue texts", openapi_extra=takes(CompletionBody))
    @needs(Scope.GENERATE)
    async def completions(request: Request) -> Response:
        body = await read_body(request, CompletionBody)

        def format_for(request_id: str, model: str) -> AnswerFormat:
            return CompletionFormat(
                request_id,
                int(time.time()),
                model,
                include_usage=body.include_usage,
                per_prompt=body.choices,
            )

        return AnswerResponse(
            context.inference,
            body.to_requests(),
            format_for,
            stream=bool(body.stream),
            text_field="prompt",
        )

    @router.get("/models", summary="All models, aliases included")
    @needs(Scope.MODELS_READ)
    async def models(request: Request) -> dict[str, Any]:
        allowed = models_of(caller_of(request.scope), catalog)
        data = [described(name) for entry in allowed for name in (entry.name, *entry.aliases)]
        return {"object": "list", "data": data}

    @router.get("/models/{name:path}", summary="One model")
    @needs(Scope.MODELS_READ)
    async def model(request: Request, name: str) -> dict[str, Any]:
        model_for(caller_of(request.scope), catalog, name)
        return described(name)

    return router
