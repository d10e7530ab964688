"""A remote server that speaks OpenAI's form: https://platform.openai.com/docs/api-reference/audio"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from ai_core.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    UpstreamFailed,
    UpstreamUnavailable,
)
from ai_core.transcription.port import Transcript, TranscriptionRequest
from ai_core.transcription.upstream_answers import DEFAULT_RETRY_AFTER, error_of, transcript_of

CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
USUAL_NAME = "whisper-1"
"""What OpenAI's clients ask for, whatever serves them."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the remote server is. ``url`` ends before ``/audio/transcriptions``; ``timeout`` in seconds, for
    one transcription as a whole. ``model`` None: callers name the server's own models."""

    url: str
    api_key: str | None = None
    model: str | None = None
    timeout: float = 300.0


class RemoteTranscriber:
    """Implements :class:`.port.Transcriber`. One object serves all requests."""

    def __init__(self, upstream: Upstream, client: httpx.AsyncClient) -> None:
        self._upstream = upstream
        self._client = client

    @property
    def own_model(self) -> str | None:
        return self._upstream.model

    def model_for(self, name: str | None) -> str:
        own = self._upstream.model
        if own is None:
            if name is None:
                raise InvalidRequest("'model' is missing.", code="missing_parameter", parameter="model")
            return name
        if name not in {None, own, USUAL_NAME}:
            raise ModelNotFound(f"The model for transcriptions is '{own}' here.", parameter="model")
        return own

    async def transcribe(self, request: TranscriptionRequest) -> Transcript:
        try:
            async with asyncio.timeout(self._upstream.timeout):
                return await self._ask(request)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise DeadlineExceeded(
                f"The transcription server did not answer within {self._upstream.timeout:.0f} s.",
                code="upstream_timeout",
            ) from error
        except httpx.TransportError as error:
            raise UpstreamUnavailable(
                "The transcription server cannot be reached at present. Try again later.",
                retry_after=DEFAULT_RETRY_AFTER,
            ) from error

    async def _ask(self, request: TranscriptionRequest) -> Transcript:
        recording = request.recording
        # Nobody needs to know what the caller's file is called; its kind is told by the suffix.
        name = f"audio.{recording.suffix}" if recording.suffix else "audio"
        async with self._client.stream(
            "POST",
            f"{self._upstream.url}/audio/transcriptions",
            data=fields_of(request),
            files={"file": (name, recording.file, recording.media_type)},
        ) as response:
            content = await _bounded(response)
        if response.status_code != 200:
            raise error_of(response.status_code, response.headers, content)
        return transcript_of(content, request.format)


@asynccontextmanager
async def open_remote_transcriber(upstream: Upstream) -> AsyncIterator[RemoteTranscriber]:
    """A transcriber with connections of its own, closed at the end of the block."""
    headers = {"authorization": f"Bearer {upstream.api_key}"} if upstream.api_key else {}
    timeout = httpx.Timeout(upstream.timeout, connect=CONNECT_SECONDS)
    # No proxy that a variable happens to name: the audio goes where the operator said, and nowhere else.
    async with httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as client:
        yield RemoteTranscriber(upstream, client)


def fields_of(request: TranscriptionRequest) -> dict[str, Any]:
    """The text fields of the form; what the caller left out stays out."""
    fields: dict[str, Any] = {"model": request.model, "response_format": request.format}
    if request.language is not None:
        fields["language"] = request.language
    if request.prompt is not None:
        fields["prompt"] = request.prompt
    if request.temperature is not None:
        fields["temperature"] = str(request.temperature)
    if request.granularities:
        fields["timestamp_granularities[]"] = list(request.granularities)
    return fields


async def _bounded(response: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise UpstreamFailed("The transcription server's answer is too long.")
    return bytes(content)
