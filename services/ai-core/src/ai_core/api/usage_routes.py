"""What a key has used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from fastapi import APIRouter, Request

from ai_core.access.caller import Caller, Scope
from ai_core.access.usage import utc_now
from ai_core.api.context import ApiContext
from ai_core.api.exchange import caller_of
from ai_core.api.route_access import needs
from ai_core.errors import Forbidden, InvalidRequest
from ai_core.storage.usage import Amount, UsageKey

DEFAULT_DAYS = 30
MAX_DAYS = 366

_DAY = {"type": "string", "format": "date"}
_PARAMETERS = [
    {"name": "from", "in": "query", "schema": _DAY, "description": "The first day; 30 days by default."},
    {"name": "to", "in": "query", "schema": _DAY, "description": "The last day (UTC); today by default."},
    {
        "name": "key_id",
        "in": "query",
        "schema": {"type": "string"},
        "description": "Another key than one's own; needs the scope admin.",
    },
]


@dataclass(frozen=True, slots=True)
class Question:
    """Whose usage of which days; both days included."""

    key_id: str
    first: date
    last: date


def usage_routes(context: ApiContext) -> APIRouter:
    """GET /api/v1/usage."""
    router = APIRouter(prefix="/api/v1", tags=["administration"])

    @router.get("/usage", summary="What a key has used", openapi_extra={"parameters": _PARAMETERS})
    @needs(None)
    async def usage(request: Request) -> dict[str, Any]:
        caller = caller_of(request.scope)
        question = question_of(request.query_params, caller, utc_now().date())
        if question.key_id != caller.key_id:
            await context.access.keys.get(question.key_id)
        amounts = await context.access.usage.between(question.key_id, question.first, question.last)
        return usage_facts(question, amounts)

    return router


def question_of(parameters: Mapping[str, str], caller: Caller, today: date) -> Question:
    """What is asked. Raises InvalidRequest, Forbidden."""
    if unknown := parameters.keys() - {"from", "to", "key_id"}:
        name = min(unknown)[:60]
        raise InvalidRequest(
            f"'{name}' is not a parameter here. Remove it, or check its spelling.",
            code="unknown_parameter",
            parameter=name,
        )
    key_id = parameters.get("key_id", caller.key_id)
    if key_id != caller.key_id and not caller.may(Scope.ADMIN):
        raise Forbidden("Another key's usage needs the scope 'admin'. Leave 'key_id' out for your own.")
    last = _day(parameters, "to") or today
    first = _day(parameters, "from") or date.fromordinal(max(1, last.toordinal() - DEFAULT_DAYS + 1))
    if not 0 <= (last - first).days < MAX_DAYS:
        raise InvalidRequest(
            f"'from' is not after 'to', and at most {MAX_DAYS} days are told at once.", parameter="from"
        )
    return Question(key_id, first, last)


def _day(parameters: Mapping[str, str], name: str) -> date | None:
    text = parameters.get(name)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"'{name}' is a day like 2026-01-31.", parameter=name) from None


def usage_facts(question: Question, amounts: Mapping[UsageKey, Amount]) -> dict[str, Any]:
    """One entry per day and model with any use, and their sum."""
    return {
        "key_id": question.key_id,
        "from": question.first.isoformat(),
        "to": question.last.isoformat(),
        "total": _numbers(sum(amounts.values(), Amount())),
        "days": [
            {"day": key.day.isoformat(), "model": key.model} | _numbers(amount)
            for key, amount in sorted(amounts.items())
        ],
    }


def _numbers(amount: Amount) -> dict[str, int]:
    return asdict(amount) | {"total_tokens": amount.tokens}
