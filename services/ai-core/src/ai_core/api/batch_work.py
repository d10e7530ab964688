"""A line of a batch, answered by the route that it names."""

from __future__ import annotations

from starlette.types import ASGIApp

from ai_core.access.caller import Caller
from ai_core.api.answering import unexpected_error
from ai_core.api.errors import error_body
from ai_core.api.inner import InnerRequest, ask
from ai_core.inference.batches.archive import Line
from ai_core.inference.batches.decisions import Outcome
from ai_core.inference.batches.runner import Perform
from ai_core.storage.batches import Claim


def performing(app: ASGIApp) -> Perform:
    """Answers lines through the whole application, as if each were a request from outside."""

    async def perform(caller: Caller, claim: Claim, line: Line) -> Outcome:
        request = InnerRequest(
            path=line.url,
            body=line.body,
            caller=caller,
            facts={"batch": claim.batch_id, "line": claim.number},
        )
        response = await ask(app, request)
        request_id = response.headers.get(b"x-request-id", b"").decode("latin-1")
        if not response.status or not response.body:
            return Outcome(500, request_id, error_body(unexpected_error(request_id)))
        return Outcome(
            response.status, request_id, response.body, _seconds(response.headers.get(b"retry-after"))
        )

    return perform


def _seconds(value: bytes | None) -> float | None:
    return float(value) if value is not None and value.isdigit() else None
