"""rspamd, by its HTTP protocol (https://rspamd.com/doc/developers/protocol.html)."""

from __future__ import annotations

import time

import httpx

from mail_service.deciding.facts import Scan
from mail_service.scanning.port import CONNECT_TIMEOUT, TIMEOUT, ScannerAway

_SPAM = frozenset({"reject", "add header", "rewrite subject", "quarantine", "discard"})
_CLEAN = frozenset({"no action", "greylist"})
"""Greylisting is for servers that talk to the sender's: a mail that came this far has passed there."""


class Rspamd:
    """Implements :class:`mail_service.scanning.port.Scanner`.

    Args:
        client: closed by whoever made it.
        url: of the worker, without a path.
    """

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url.rstrip("/")

    async def scan(self, raw: bytes) -> Scan:
        """*soft reject* means that rspamd itself could not do its work: the mail waits."""
        timeout = httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
        try:
            reply = await self._client.post(f"{self._url}/checkv2", content=raw, timeout=timeout)
            found = reply.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return Scan.AWAY
        action = found.get("action") if isinstance(found, dict) else None
        if action in _SPAM:
            return Scan.FOUND
        return Scan.CLEAN if action in _CLEAN else Scan.AWAY

    async def ping(self) -> float:
        """See :class:`mail_service.scanning.port.Scanner`."""
        start = time.monotonic()
        try:
            (await self._client.get(f"{self._url}/ping", timeout=CONNECT_TIMEOUT)).raise_for_status()
        except httpx.HTTPError as error:
            raise ScannerAway("no pong") from error
        return time.monotonic() - start
