"""One answer on its way to the caller: whole or as a stream, for as long as the caller is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ai_core.api.answer_format import AnswerFormat
from ai_core.api.cache_header import cache_header
from ai_core.api.errors import error_body
from ai_core.api.event_stream import EventStream, error_event
from ai_core.api.exchange import STATUS_CLIENT_LEFT, Exchange, exchange_of
from ai_core.api.for_caller import for_caller
from ai_core.api.presence import ClientLeft, while_client_stays
from ai_core.errors import NeoError
from ai_core.inference.choices import Choices, answer_all
from ai_core.inference.generation import Generation, Progress
from ai_core.inference.requests import Completion, GenerationRequest
from ai_core.inference.service import Inference

ENGINE_TEXT_FIELDS = frozenset({"messages", "prompt"})
"""What the engine calls it; it does not know of short forms."""

Formatting = Callable[[str, str], AnswerFormat]
"""From the request's id and the model's name to the style of this answer."""


class AnswerResponse(Response):
    """A response that asks for its content only when it is sent.

    Status and headers wait until the engine has accepted the request, so what fails before has a
    status of its own. What fails later ends a stream with an error event.
    """

    def __init__(
        self,
        inference: Inference,
        requests: Sequence[GenerationRequest],
        formatting: Formatting,
        *,
        stream: bool,
        text_field: str,
    ) -> None:
        """``requests`` has one for each choice, at least one; ``text_field`` is what the caller calls the
        field that the prompt is made of."""
        self._inference = inference
        self._requests = requests
        self._formatting = formatting
        self._stream = stream
        self._text_field = text_field
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        stream = EventStream(send, exchange)
        try:
            async with while_client_stays(receive, stream):
                await self._answer_or_fail(exchange, stream, send)
        except ClientLeft:
            exchange.status = STATUS_CLIENT_LEFT

    async def _answer_or_fail(self, exchange: Exchange, stream: EventStream, send: Send) -> None:
        try:
            await self._answer(exchange, stream, send)
        except NeoError as error:
            if error.parameter in ENGINE_TEXT_FIELDS:
                error.parameter = self._text_field
            if not stream.started:
                raise
            exchange.error_code = error.code
            await stream.write(error_event(error_body(error)), last=True)
        except Exception:
            # The status is out already: the most that can be done is to say so in the stream.
            if stream.started and not stream.complete:
                apology = unexpected_error(exchange.request_id)
                exchange.error_code = apology.code
                await stream.write(error_event(error_body(apology)), last=True)
            raise

    async def _answer(self, exchange: Exchange, stream: EventStream, send: Send) -> None:
        caller, catalog = exchange.known_caller, self._inference.catalog
        requests = [for_caller(request, caller, catalog, exchange.timeout) for request in self._requests]
        if len(requests) > 1:
            await self._answer_several(exchange, requests, stream, send)
            return
        async with self._inference.answer(requests[0]) as generation:
            exchange.standing.tokens = generation.tokens_left
            exchange.headers.append(cache_header([generation.progress]))
            answer_format = self._formatting(exchange.request_id, generation.progress.model)
            try:
                if self._stream:
                    await _send_stream(generation, answer_format, stream)
                else:
                    await send_json(send, answer_format.whole([await generation.complete()]))
            finally:
                exchange.facts.update(facts([generation.progress]))

    async def _answer_several(
        self, exchange: Exchange, requests: Sequence[GenerationRequest], stream: EventStream, send: Send
    ) -> None:
        async with answer_all(self._inference, requests) as choices:
            exchange.standing.tokens = choices.tokens_left
            exchange.headers.append(cache_header(choices.progress))
            answer_format = self._formatting(exchange.request_id, choices.progress[0].model)
            try:
                if self._stream:
                    await _send_choices(choices, len(requests), answer_format, stream)
                else:
                    await send_json(send, answer_format.whole(await choices.complete()))
            finally:
                exchange.facts.update(facts(choices.progress))


async def _send_stream(generation: Generation, answer_format: AnswerFormat, stream: EventStream) -> None:
    await stream.start()
    if first := answer_format.first(1):
        await stream.write(first)
    async for piece in generation:
        if events := answer_format.delta(piece):
            await stream.write(events)
    completion = await generation.complete()
    await stream.write(answer_format.end(completion) + answer_format.last([completion]), last=True)


async def _send_choices(
    choices: Choices, count: int, answer_format: AnswerFormat, stream: EventStream
) -> None:
    await stream.start()
    if first := answer_format.first(count):
        await stream.write(first)
    async for choice, content in choices:
        if isinstance(content, Completion):
            events = answer_format.end(content, choice)
        else:
            events = answer_format.delta(content, choice)
        if events:
            await stream.write(events)
    await stream.write(answer_format.last(await choices.complete()), last=True)


async def send_json(send: Send, body: bytes) -> None:
    """A whole response with status 200."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def unexpected_error(request_id: str) -> NeoError:
    """What the caller is told about a mistake of ours; the log has more under this id."""
    return NeoError(f"Something went wrong in this server. Its log tells more under request id {request_id}.")


def facts(progress: Sequence[Progress]) -> dict[str, Any]:
    """What the log says of an answer with one or more choices; times in seconds, of the first choice."""
    first = progress[0]
    return {
        "model": first.model,
        "prompt_tokens": first.prompt_tokens,
        "completion_tokens": sum(one.completion_tokens for one in progress),
        "cached_prompt_tokens": first.cached_prompt_tokens,
        "first_token_seconds": _rounded(first.first_token_seconds),
        "queue_seconds": _rounded(first.queue_seconds),
        "finish_reason": first.finish_reason,
        "origin": first.origin.value,
    } | ({"choices": len(progress)} if len(progress) > 1 else {})


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
