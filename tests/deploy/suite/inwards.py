"""The way of strangers to the suite: its domains lead to the port that nginx publishes on this machine."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx


def _redirect(request: httpx.Request, port: int) -> httpx.Request:
    host = request.url.host
    request.url = request.url.copy_with(host="127.0.0.1", port=port)
    request.extensions = {**request.extensions, "sni_hostname": host}
    return request


class Inwards(httpx.HTTPTransport):
    """For programs that call the API."""

    def __init__(self, trusted: Path, port: int) -> None:
        super().__init__(verify=ssl.create_default_context(cafile=str(trusted)))
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """To this machine, under the domain's name."""
        return super().handle_request(_redirect(request, self._port))


class InwardsAsync(httpx.AsyncHTTPTransport):
    """For webhooks."""

    def __init__(self, trusted: Path, port: int) -> None:
        super().__init__(verify=ssl.create_default_context(cafile=str(trusted)))
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """To this machine, under the domain's name."""
        return await super().handle_async_request(_redirect(request, self._port))
