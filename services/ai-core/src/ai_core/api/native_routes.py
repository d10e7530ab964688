"""Our own routes for chats and completions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ai_core.access.caller import Scope
from ai_core.api.answer_format import AnswerFormat
from ai_core.api.answering import AnswerResponse
from ai_core.api.context import ApiContext
from ai_core.api.json_body import read_body
from ai_core.api.native_answers import NativeFormat
from ai_core.api.native_requests import ChatBody, GenerateBody
from ai_core.api.openapi import takes
from ai_core.api.route_access import needs


def native_routes(context: ApiContext) -> APIRouter:
    """The routes under /api/v1 that generate text."""
    router = APIRouter(prefix="/api/v1", tags=["native"])

    def answer(body: ChatBody | GenerateBody) -> Response:
        generation_request = body.to_request()
        further = body.email_answer(body.newest)
        if generation_request.session_id is not None:
            further["session_id"] = generation_request.session_id

        def format_for(_request_id: str, _model: str) -> AnswerFormat:
            return NativeFormat(reasoning=bool(body.reasoning), further=further)

        return AnswerResponse(
            context.inference,
            [generation_request],
            format_for,
            stream=bool(body.stream),
            text_field="prompt" if body.prompt is not None else "messages",
        )

    @router.post("/chat", summary="Answer a conversation", openapi_extra=takes(ChatBody))
    @needs(Scope.GENERATE)
    async def chat(request: Request) -> Response:
        return answer(await read_body(request, ChatBody))

    @router.post("/generate", summary="Continue a text", openapi_extra=takes(GenerateBody))
    @needs(Scope.GENERATE)
    async def generate(request: Request) -> Response:
        return answer(await read_body(request, GenerateBody))

    return router
