"""OpenAI's route for transcriptions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from ai_core.access.caller import Caller
from ai_core.access.caller import Scope as KeyScope
from ai_core.api.context import ApiContext
from ai_core.api.event_stream import EventStream
from ai_core.api.exchange import STATUS_CLIENT_LEFT, Exchange, exchange_of
from ai_core.api.openapi import takes
from ai_core.api.presence import ClientLeft, while_client_stays
from ai_core.api.route_access import needs
from ai_core.api.transcription_form import (
    FORM_MEDIA_TYPE,
    UPLOAD_SECONDS,
    TranscriptionBody,
    TranscriptionForm,
    read_form,
)
from ai_core.errors import ModelNotFound, NotConfigured, Overloaded
from ai_core.storage.usage import Amount
from ai_core.transcription.port import Transcriber, Transcript, TranscriptionRequest

TRANSCRIPTIONS_PATH = "/v1/audio/transcriptions"
MAX_AT_ONCE = 16
"""Recordings that lie on the disk or are on their way at the same time."""
RETRY_SECONDS = 5.0
ANY_MODEL = "transcription"
"""How logs and usage call a model that the caller has named."""


def transcription_routes(context: ApiContext) -> APIRouter:
    """``/v1/audio/transcriptions``."""
    router = APIRouter(tags=["OpenAI"])
    places = _Places(MAX_AT_ONCE)

    @router.post(
        TRANSCRIPTIONS_PATH,
        summary="Turn speech into text",
        openapi_extra=takes(TranscriptionBody, FORM_MEDIA_TYPE),
    )
    @needs(KeyScope.GENERATE)
    async def transcriptions(request: Request) -> Response:
        if context.transcriber is None:
            await _drop_body(request)
            raise NotConfigured(
                "This server turns no speech into text: its operator has not set TRANSCRIPTION_URL."
            )
        return _TranscriptionResponse(context, context.transcriber, places)

    return router


@dataclass(slots=True)
class _Places:
    free: int

    @contextmanager
    def one(self) -> Iterator[None]:
        if not self.free:
            raise Overloaded(
                "Too many recordings are being transcribed. Try again a little later.",
                retry_after=RETRY_SECONDS,
            )
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1


async def _drop_body(request: Request) -> None:
    """Most clients read no answer before they have sent everything."""
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for _ in request.stream():
                pass
    except TimeoutError:
        return


class _TranscriptionResponse(Response):
    """Reads the form and asks for the text, for as long as the caller is there."""

    def __init__(self, context: ApiContext, transcriber: Transcriber, places: _Places) -> None:
        self._context = context
        self._transcriber = transcriber
        self._places = places
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        with self._context.inference.requests.enter(), self._places.one():
            async with read_form(Request(scope, receive), self._context.max_audio_bytes) as form:
                try:
                    async with while_client_stays(receive, EventStream(send, exchange)):
                        transcript = await self._transcribe(form, exchange)
                        await _send(transcript, send)
                except ClientLeft:
                    exchange.status = STATUS_CLIENT_LEFT

    async def _transcribe(self, form: TranscriptionForm, exchange: Exchange) -> Transcript:
        caller, fields = exchange.known_caller, form.fields
        model = model_for(caller, self._transcriber, fields.model)
        # What callers call a model elsewhere is their text: it belongs neither into the log nor into a table.
        counted_as = self._transcriber.own_model or ANY_MODEL
        exchange.facts |= {"model": counted_as, "audio_bytes": form.recording.size}
        started = time.monotonic()
        transcript = await self._transcriber.transcribe(
            TranscriptionRequest(
                recording=form.recording,
                model=model,
                format=fields.response_format,
                language=fields.language,
                prompt=fields.prompt,
                temperature=fields.temperature,
                granularities=tuple(fields.timestamp_granularities),
            )
        )
        exchange.facts["upstream_seconds"] = round(time.monotonic() - started, 3)
        self._context.access.usage.note(caller.key_id, counted_as, Amount(requests=1))
        return transcript


def model_for(caller: Caller, transcriber: Transcriber, name: str | None) -> str:
    """The model that a caller's name means. Raises ModelNotFound also where the key may not use it."""
    model = transcriber.model_for(name)
    if not caller.may_use(model):
        raise ModelNotFound("Your API key may not use the model for transcriptions.", parameter="model")
    return model


async def _send(transcript: Transcript, send: Send) -> None:
    headers = [
        (b"content-type", transcript.media_type.encode("ascii")),
        (b"content-length", b"%d" % len(transcript.content)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": transcript.content})
