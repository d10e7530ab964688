"""OpenAI's routes: what works with their client libraries works here."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response

from ai_core.access.caller import Scope
from ai_core.access.models import model_and_adapter_for, models_of
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
from ai_core.catalog.models import ModelEntry, unknown_model
from ai_core.inference.adapters import adapters_of


def openai_routes(context: ApiContext) -> APIRouter:
    """The routes under /v1."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    def names_of(entry: ModelEntry) -> list[str]:
        adapters = adapters_of(entry, context.engines[entry.name])
        return [entry.name, *entry.aliases, *(f"{entry.name}:{adapter}" for adapter in adapters)]

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

    @router.get("/models", summary="All models, with their aliases and adapters")
    @needs(Scope.MODELS_READ)
    async def models(request: Request) -> dict[str, Any]:
        allowed = models_of(caller_of(request.scope), context.inference.catalog)
        return {"object": "list", "data": [described(name) for entry in allowed for name in names_of(entry)]}

    @router.get("/models/{name:path}", summary="One model")
    @needs(Scope.MODELS_READ)
    async def model(request: Request, name: str) -> dict[str, Any]:
        caller, catalog = caller_of(request.scope), context.inference.catalog
        entry, adapter = model_and_adapter_for(caller, catalog, name)
        if adapter and name not in names_of(entry):
            raise unknown_model(name, models_of(caller, catalog))
        return described(name)

    return router
