"""One program that asks over one connection, and comes again when it is told to.

Requests are told to locust by hand: a 429 or 503 with a ``Retry-After`` is no failure if what comes after it
is an answer, and of a stream the moments of its pieces matter.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from locust.env import Environment

from loadtests.plan import TOLD_TO_WAIT

PATIENCE = 280.0
"""Seconds that a program waits for an answer."""
ATTEMPTS = 20


class Failed(Exception):
    """There is no answer."""


@dataclass
class Asker:
    """A connection that is kept, as the SDKs keep it."""

    environment: Environment
    url: str
    key: str
    _connection: http.client.HTTPConnection | None = field(default=None)

    def whole(self, name: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """An answer that comes in one piece; None where there is none, which is counted."""
        return self._counted(name, lambda: json.loads(self._open(path, body).read()))

    def streamed(self, name: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """An answer that comes as it is written: time to first token, and time between two, are told, too."""
        return self._counted(name, lambda: self._stream(name, path, body | {"stream": True}))

    def _counted(self, name: str, ask: Any) -> dict[str, Any] | None:
        began = time.perf_counter()
        try:
            answer: dict[str, Any] = ask()
        except (OSError, http.client.HTTPException, Failed, ValueError) as error:
            self._connection = None
            self._tell(name, time.perf_counter() - began, error)
            return None
        self._tell(name, time.perf_counter() - began)
        return answer

    def _stream(self, name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        sent = last = time.perf_counter()
        answer = self._open(path, body)
        pieces = 0
        found: dict[str, Any] = {}
        while line := answer.readline():
            if not line.startswith(b"data:"):
                continue
            found = json.loads(line[5:])
            now = time.perf_counter()
            if "delta" in found:
                self._tell("time to first token" if not pieces else "time between tokens", now - last)
                last, pieces = now, pieces + 1
        if "finish_reason" not in found:
            raise Failed(f"the stream broke off after {pieces} pieces and {last - sent:.1f} s")
        return found

    def _open(self, path: str, body: dict[str, Any]) -> http.client.HTTPResponse:
        """The answer to a request that was let in."""
        for _ in range(ATTEMPTS):
            began = time.perf_counter()
            answer = self._post(path, body)
            if answer.status == 200:
                return answer
            said = answer.read()
            wait = answer.headers.get("Retry-After")
            if answer.status not in {429, 503} or wait is None:
                raise Failed(f"{answer.status} {said[:200]!r}")
            self._tell(TOLD_TO_WAIT, time.perf_counter() - began)
            time.sleep(float(wait))
        raise Failed(f"told to wait {ATTEMPTS} times")

    def _post(self, path: str, body: dict[str, Any]) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = connection_to(self.url)
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        self._connection.request("POST", path, json.dumps(body), headers)
        return self._connection.getresponse()

    def _tell(self, name: str, seconds: float, exception: Exception | None = None) -> None:
        self.environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type="API",
            name=name,
            response_time=1_000 * seconds,
            response_length=0,
            exception=exception,
            context={},
        )


def connection_to(url: str) -> http.client.HTTPConnection:
    """Certificates are looked at by the tests; a load test's own are nobody's."""
    place = urlsplit(url)
    assert place.hostname is not None
    if place.scheme == "http":
        return http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(place.hostname, place.port, timeout=PATIENCE, context=anybody)
