"""Conversations that stay on the server: what there is, to read and to delete."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from ai_core.access.caller import Scope
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
from ai_core.api.route_access import needs
from ai_core.engine.messages import ChatMessage
from ai_core.errors import InvalidRequest
from ai_core.inference.sessions.archive import SessionFacts
from ai_core.inference.sessions.conversation import Conversation
from ai_core.inference.sessions.sessions import Sessions

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000
_LIMIT = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    "description": "How many are told at most.",
}


def session_routes(context: ApiContext) -> APIRouter:
    """The routes under /api/v1/sessions. A session of another key is not there."""
    router = APIRouter(prefix="/api/v1/sessions", tags=["native"])

    def sessions() -> Sessions:
        assert context.inference.sessions is not None
        return context.inference.sessions

    @router.get("", summary="The conversations of this key", openapi_extra={"parameters": [_LIMIT]})
    @needs(Scope.GENERATE)
    async def list_sessions(request: Request) -> dict[str, Any]:
        limit = limit_of(request.query_params)
        found = await sessions().list(caller_of(request.scope).key_id, limit)
        return {"sessions": [facts_of(facts) for facts in found]}

    @router.get("/{session_id}", summary="One conversation, with what was said")
    @needs(Scope.GENERATE)
    async def read_session(request: Request, session_id: str) -> dict[str, Any]:
        conversation, ends = await sessions().read(caller_of(request.scope).key_id, session_id)
        return whole(conversation, ends)

    @router.delete("/{session_id}", summary="Forget a conversation", status_code=204)
    @needs(Scope.GENERATE)
    async def delete_session(request: Request, session_id: str) -> Response:
        await sessions().delete(caller_of(request.scope).key_id, session_id)
        return Response(status_code=204)

    return router


def limit_of(parameters: Mapping[str, str]) -> int:
    """How many conversations are wanted. Raises InvalidRequest."""
    if unknown := parameters.keys() - {"limit"}:
        name = min(unknown)[:60]
        raise InvalidRequest(
            f"'{name}' is not a parameter here. Remove it, or check its spelling.",
            code="unknown_parameter",
            parameter=name,
        )
    text = parameters.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidRequest(
            f"'limit' is a whole number from 1 to {MAX_LIMIT}.", code="invalid_value", parameter="limit"
        )
    return int(text)


def facts_of(facts: SessionFacts) -> dict[str, Any]:
    """One line of the list. ``turns`` counts those that were dropped, too."""
    return {
        "session_id": facts.session_id,
        "created_at": _time(facts.created_at),
        "updated_at": _time(facts.updated_at),
        "turns": facts.turns,
    }


def whole(conversation: Conversation, ends: float) -> dict[str, Any]:
    """A conversation with its messages; ``dropped_turns`` are not among them any more."""
    return {
        "session_id": conversation.session_id,
        "created_at": _time(conversation.created_at),
        "updated_at": _time(conversation.updated_at),
        "expires_at": _time(ends),
        "turns": conversation.dropped + len(conversation.turns),
        "dropped_turns": conversation.dropped,
        "messages": [_message(message) for message in conversation.messages],
    }


def _message(message: ChatMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls
        ]
    if message.tool_call_id:
        fields["tool_call_id"] = message.tool_call_id
    if message.name:
        fields["name"] = message.name
    return fields


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
