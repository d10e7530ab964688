"""A program that uses the API through nginx, and asks again when it is told to."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
from tests.deploy.suite.installation import HTTPS_PORT
from tests.deploy.suite.inwards import Inwards

PATIENCE = 180.0
"""Seconds."""
LONGEST_PAUSE = 2.0


class Program:
    """Keeps a key; may be used by several threads."""

    def __init__(self, trusted: Path, key: str) -> None:
        self._http = httpx.Client(
            base_url="https://ai.neo.test",
            transport=Inwards(trusted, HTTPS_PORT),
            headers={"x-api-key": key},
            timeout=60,
        )
        self.retried = 0

    def post(self, question: str) -> httpx.Response:
        """One try."""
        return self._http.post("/api/v1/chat", json={"messages": [{"role": "user", "content": question}]})

    def ask(self, question: str) -> str:
        """The answer, after as many tries as it takes."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                said = self.post(question)
                reason = f"{said.status_code} {said.text[:200]}"
            except httpx.TransportError as error:
                said, reason = None, repr(error)
            if said is not None and said.status_code == httpx.codes.OK:
                return str(said.json()["response"])
            # What is neither busy nor broken would not get better.
            assert said is None or said.status_code == 429 or said.status_code >= 500, reason
            assert time.monotonic() < deadline, reason
            self.retried += 1
            pause = float(said.headers.get("retry-after", 1)) if said is not None else 1.0
            time.sleep(min(pause, LONGEST_PAUSE))

    def close(self) -> None:
        """Away with its connections."""
        self._http.close()
