"""One request to a remote server, from the first try to the last event."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from ai_core.engine.messages import Submit
from ai_core.engine_client.answer import InFlight
from ai_core.engine_client.remote import body as bodies
from ai_core.engine_client.remote.breaker import Breaker
from ai_core.engine_client.remote.chunks import BrokeOff, ChunkReader
from ai_core.engine_client.remote.events import EventReader
from ai_core.engine_client.remote.refusals import broke_off, error_of, nonsense
from ai_core.engine_client.remote.retrying import pause_before_retry
from ai_core.engine_client.remote.upstream import Upstream, headers_of
from ai_core.engine_client.remote.vectors import finished_of
from ai_core.engine_client.remote.wire import Nonsense
from ai_core.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    NeoError,
    UpstreamFailed,
    UpstreamUnavailable,
)

CONNECT_SECONDS = 5.0
MAX_ERROR_BYTES = 64 * 1024
MAX_VECTOR_BYTES = 256 * 1024 * 1024
EVENTS_PER_TURN = 64
"""Readers get their turn after so many events: a server that answers at once must not fill a reader's buffer
before the reader ran."""


@dataclass(frozen=True, slots=True)
class Line:
    """The way to one model: the connections, and whether they are used."""

    model: str
    """Its name here, for messages."""
    upstream: Upstream
    client: httpx.AsyncClient
    breaker: Breaker
    clock: Callable[[], float] = time.monotonic

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Ask the server, if it is not left alone, and learn from how it goes.

        Raises:
            EngineUnavailable: it is left alone.
            UpstreamUnavailable, DeadlineExceeded: what went wrong on the way, in our words.
        """
        if not self.breaker.admit(self.clock()):
            raise self.parked()
        try:
            with self._in_our_words():
                yield
        except NeoError as error:
            if _is_its_fault(error):
                self.breaker.failed(self.clock())
            else:
                self.breaker.succeeded()
            raise
        except BaseException:
            self.breaker.left()
            raise

    def parked(self) -> EngineUnavailable:
        """What callers are told while the server is left alone."""
        wait = max(1.0, self.breaker.seconds_left(self.clock()))
        return EngineUnavailable(
            f"The server of the remote model '{self.model}' does not work at present. It is tried again in "
            f"{wait:.0f} s.",
            code="model_parked",
            retry_after=wait,
        )

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise DeadlineExceeded(
                f"The server of the remote model '{self.model}' said nothing for "
                f"{self.upstream.timeout:g} s.",
                code="upstream_timeout",
            ) from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise UpstreamUnavailable(
                f"The server of the remote model '{self.model}' cannot be reached, or hung up. "
                "Try again later."
            ) from error
        except (httpx.DecodingError, Nonsense, ValueError) as error:
            what = str(error) if isinstance(error, Nonsense) else "it cannot be read"
            raise nonsense(self.model, what) from error


def timeout_of(upstream: Upstream, most: float = math.inf) -> httpx.Timeout:
    """Seconds without a byte; connecting is a matter of few."""
    seconds = min(upstream.timeout, most)
    return httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))


def _is_its_fault(error: NeoError) -> bool:
    if error.code in {"upstream_unauthorized", "upstream_key_unusable"}:
        return False
    return isinstance(error, UpstreamUnavailable | UpstreamFailed | DeadlineExceeded)


class Exchange:
    """Sends one request, again if that is right, and tells ``in_flight`` what comes back."""

    def __init__(self, line: Line, in_flight: InFlight, body: dict[str, Any]) -> None:
        self._line = line
        self._in_flight = in_flight
        self._body = body
        self._sent_at = line.clock()
        self._first_at: float | None = None

    async def run(self) -> None:
        """Returns when the answer is whole. Raises NeoError where it will not be."""
        try:
            async with asyncio.timeout(self._in_flight.request.timeout) as until_first:
                await self._try_and_again(until_first)
        except TimeoutError as error:
            raise DeadlineExceeded("The request waited longer than its timeout allows.") from error

    async def _try_and_again(self, until_first: asyncio.Timeout) -> None:
        tries = 0
        while True:
            tries += 1
            try:
                with self._line.attempt():
                    await self._once(until_first)
            except NeoError as error:
                end = until_first.when()
                left = None if end is None else end - asyncio.get_running_loop().time()
                pause = pause_before_retry(error, tries, shown=self._in_flight.shown, time_left=left)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return

    async def _once(self, until_first: asyncio.Timeout) -> None:
        request = self._in_flight.request
        estimate = bodies.estimated_prompt_tokens(request)
        async with self._response(request) as response:
            if request.inputs is not None:
                content = await bounded(response, MAX_VECTOR_BYTES)
                finished = finished_of(content, len(request.inputs), estimate)
                self._in_flight.accept(finished.prompt_tokens)
                self._in_flight.finish(finished)
            else:
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise Nonsense("it does not stream")
                reader = ChunkReader(prompt_tokens=estimate, chat=request.messages is not None)
                self._in_flight.accept(estimate)
                await self._read(response, reader, until_first)
        self._line.breaker.succeeded()

    async def _read(
        self, response: httpx.Response, reader: ChunkReader, until_first: asyncio.Timeout
    ) -> None:
        try:
            async for data in _events(response):
                delta = reader.feed(data)
                if delta is not None:
                    if self._first_at is None:
                        self._first_at = self._line.clock()
                        until_first.reschedule(None)
                    self._in_flight.deliver(delta)
                if reader.done:
                    break
            reader.at_end()
        except BrokeOff as error:
            raise broke_off(self._line.model, error.event) from error
        waited = (self._first_at or self._line.clock()) - self._sent_at
        self._in_flight.finish(reader.finished(queue_seconds=waited))

    @asynccontextmanager
    async def _response(self, request: Submit) -> AsyncIterator[httpx.Response]:
        """One that says 200; its connection is closed with the block. Raises NeoError for all others."""
        upstream = self._line.upstream
        async with self._line.client.stream(
            "POST",
            upstream.url + bodies.path_of(request),
            json=self._body,
            headers=headers_of(upstream),
            timeout=timeout_of(upstream),
        ) as response:
            if response.status_code != 200:
                content = await bounded(response, MAX_ERROR_BYTES, cut=True)
                raise error_of(self._line.model, response.status_code, response.headers, content)
            yield response


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    reader = EventReader()
    count = 0
    async for piece in response.aiter_bytes():
        for data in reader.feed(piece):
            yield data
            count += 1
            if not count % EVENTS_PER_TURN:
                await asyncio.sleep(0)


async def bounded(response: httpx.Response, most: int, *, cut: bool = False) -> bytes:
    """A whole body. Longer ones are cut, or raise ValueError."""
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > most:
            if cut:
                return bytes(content[:most])
            raise ValueError(f"the answer is longer than {most} bytes")
    return bytes(content)
