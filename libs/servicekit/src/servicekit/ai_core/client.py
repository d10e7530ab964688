"""The client."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from servicekit.ai_core.errors import (
    AiCoreError,
    Busy,
    Failed,
    ModelMissing,
    NotAllowed,
    Refused,
    Unreachable,
)
from servicekit.ai_core.events import Event, events
from servicekit.ai_core.requests import Answer, ChatRequest, Delta, GenerateRequest, ModelFacts
from servicekit.ai_core.trust import trust

CONNECT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""The server sends a comment every few seconds while an answer is under way, so silence means that it is
gone."""
TRANSCRIBING_SECONDS = 330.0
"""The server gives up a little earlier."""
END_SECONDS = 0.25
"""An answer that is complete waits no longer for its connection."""
MAX_RETRY_AFTER = 3_600.0

KeySource = Callable[[], str | None]
"""The key of now; None: there is none yet."""


def key_in(path: Path) -> KeySource:
    """The key that an AI core on this machine keeps in a file for those who share the machine with it."""

    def read() -> str | None:
        try:
            return path.read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    return read


class AiCore:
    """Calls one AI core with one key. Use as an async context manager, or call :meth:`close`.

    No call is repeated here: whoever calls knows what a repetition would mean.
    """

    def __init__(
        self,
        url: str,
        key: str | KeySource | None = None,
        *,
        ca_file: Path | None = None,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        """``url`` is where it is reached, e.g. ``http://ai-core:8000``. A ``key`` that may change, or that is
        still to be made, is asked for with each call. ``ca_file``: see :func:`.trust.trust`."""
        self._http = httpx.AsyncClient(
            base_url=url,
            verify=trust(ca_file),
            auth=None if key is None else _Key(key if callable(key) else lambda: key),
            timeout=httpx.Timeout(silent_seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            # The address is the operator's word; a proxy of the environment is not meant for it.
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def chat(
        self, request: ChatRequest, *, patience: float | None = None
    ) -> AsyncGenerator[Delta | Answer]:
        """An answer as it comes: text in deltas, then the whole :class:`Answer`.

        Leaving the iterator (``aclosing``) stops the generation on the server.

        Args:
            patience: seconds that the server may take, waiting included; None: its own limit.

        Raises:
            AiCoreError: one of :mod:`servicekit.ai_core.errors`, before the first delta or after some.
        """
        async with aclosing(self._stream("/api/v1/chat", request, patience)) as stream:
            async for item in stream:
                yield item

    async def generate(self, request: GenerateRequest, *, patience: float | None = None) -> Answer:
        """A whole answer. Cancelling stops the generation on the server.

        Args:
            patience: as of :meth:`chat`.

        Raises:
            AiCoreError: one of :mod:`servicekit.ai_core.errors`.
        """
        # Streamed all the same: then silence means that the server is gone, however long an answer takes.
        async with aclosing(self._stream("/api/v1/generate", request, patience)) as stream:
            async for item in stream:
                if isinstance(item, Answer):
                    return item
        raise AssertionError("a stream ends with an answer or an error")

    async def _stream(
        self, path: str, request: ChatRequest | GenerateRequest, patience: float | None
    ) -> AsyncGenerator[Delta | Answer]:
        body = msgspec.json.encode(msgspec.to_builtins(request) | {"stream": True})
        headers = {"content-type": "application/json"}
        if patience is not None:
            headers["x-request-timeout"] = f"{patience:.3f}"
        try:
            async with self._http.stream("POST", path, content=body, headers=headers) as response:
                if response.status_code != httpx.codes.OK:
                    raise error_of(response.status_code, response.headers, await response.aread())
                async with aclosing(events(response.aiter_lines())) as stream:
                    async for event in stream:
                        item = _item(event)
                        if isinstance(item, Answer):
                            await _read_to_the_end(stream)
                        if item is not None:
                            yield item
                        if isinstance(item, Answer):
                            return
        except httpx.HTTPError as error:
            raise Unreachable(f"the AI core cannot be reached ({type(error).__name__})") from error
        raise Unreachable("the answer broke off")

    async def transcribe(self, recording: bytes, *, name: str = "voice.ogg") -> str:
        """What is said in a recording.

        Args:
            name: only its ending matters: servers take it for the format.

        Raises:
            AiCoreError: ``ModelMissing`` where this AI core has no speech model.
        """
        timeout = httpx.Timeout(TRANSCRIBING_SECONDS, connect=CONNECT_SECONDS)
        try:
            response = await self._http.post(
                "/v1/audio/transcriptions", files={"file": (name, recording)}, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"the AI core cannot be reached ({type(error).__name__})") from error
        return str(_fields(response).get("text", ""))

    async def models(self) -> list[ModelFacts]:
        """The models that the key may use. Raises AiCoreError."""
        return msgspec.convert((await self._get("/api/v1/models"))["models"], list[ModelFacts])

    async def ping(self) -> float:
        """Seconds that the AI core took to say that it takes requests. Raises AiCoreError."""
        began = time.perf_counter()
        await self._get("/readyz")
        return time.perf_counter() - began

    async def _get(self, path: str) -> dict[str, Any]:
        try:
            response = await self._http.get(path)
        except httpx.HTTPError as error:
            raise Unreachable(f"the AI core cannot be reached ({type(error).__name__})") from error
        return _fields(response)


def _fields(response: httpx.Response) -> dict[str, Any]:
    if response.status_code != httpx.codes.OK:
        raise error_of(response.status_code, response.headers, response.content)
    try:
        answer = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Failed("the AI core's answer is not what it should be; is AI_API_URL right?") from error
    return answer


async def _read_to_the_end(stream: AsyncGenerator[Event]) -> None:
    """Nothing comes after an answer but the end; a connection that has seen it can be used again."""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            async for _ in stream:
                pass


class _Key(httpx.Auth):
    def __init__(self, source: KeySource) -> None:
        self._source = source

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        key = self._source()
        if key is None:
            # Without one it would be refused for good; the core that makes it may just be starting.
            raise Unreachable("there is no key for the AI core yet")
        request.headers["x-api-key"] = key
        yield request


def error_of(status: int, headers: httpx.Headers, body: bytes) -> AiCoreError:
    """What an answer other than 200 means."""
    code, message = _told(body)
    text = f"{message} ({status})" if message else f"HTTP {status}"
    if status in {401, 403}:
        return NotAllowed(text)
    if status in {404, 501}:
        return ModelMissing(text)
    if status in {408, 429, 502, 503, 504}:
        return Busy(text, _seconds(headers.get("retry-after")))
    return Refused(text, code) if status < 500 else Failed(text)


def _item(event: Event) -> Delta | Answer | None:
    try:
        fields = msgspec.json.decode(event.data, type=dict[str, Any])
        if event.kind == "error":
            error = fields["error"]
            raise _error_in_stream(str(error.get("code")), str(error.get("message")))
        if "response" in fields:
            return msgspec.convert(fields, Answer)
        return Delta(fields["delta"]) if "delta" in fields else None
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
        raise Failed("the AI core sent an event that cannot be read") from error


def _error_in_stream(code: str, message: str) -> AiCoreError:
    if code in {"generation_failed", "request_quarantined", "internal_error"}:
        return Failed(message)
    return Refused(message, code) if code == "content_filtered" else Busy(message, None)


def _told(body: bytes) -> tuple[str, str]:
    try:
        error = msgspec.json.decode(body)["error"]
        return str(error["code"]), str(error["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "", ""


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else min(max(0.0, float(text)), MAX_RETRY_AFTER)
    except ValueError:
        return None
