"""aioimaplib with what it leaves to its users; the only module that imports it.

A command whose connection is lost waits for ever there, so the loss is told here; new mail is noticed in
whichever answer the server announces it; an answer that cannot be read ends the connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from aioimaplib import aioimaplib

AUTH: str = aioimaplib.AUTH
ClientError: type[Exception] = aioimaplib.AioImapException
_EXISTS = b" EXISTS\r\n"


def quoted(value: str) -> str:
    """As an IMAP string (RFC 3501, 4.3)."""
    return str(aioimaplib.quoted(value))


class Protocol(aioimaplib.IMAP4ClientProtocol):  # type: ignore[misc]  # it has no types
    """Tells when the connection is lost, and when the server announces mail."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.lost = asyncio.Event()
        self.news = asyncio.Event()
        self.heard = 0
        """How often something was."""
        self._tail = b""

    def data_received(self, data: bytes) -> None:
        self.heard += 1
        # Whatever command it comes with, or in a mail's text, where it costs one look too many.
        if _EXISTS in self._tail + data:
            self.news.set()
        self._tail = data[-len(_EXISTS) :]
        try:
            super().data_received(data)
        except Exception:  # noqa: BLE001 - a server that says what cannot be read is one to hang up on
            self.hang_up()
        else:
            self._end_refused_sign_in(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in {socket.AF_INET, socket.AF_INET6}:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()

    async def welcome(self, command: bytes) -> None:
        try:
            await super().welcome(command)
        except Exception:  # noqa: BLE001 - nobody waits for this task
            self.hang_up()

    def hang_up(self) -> None:
        """Lost, as far as we are concerned."""
        self.lost.set()
        if self.transport is not None:
            self.transport.abort()

    def _end_refused_sign_in(self, data: bytes) -> None:
        # XOAUTH2 says why it refuses in a challenge, and goes on when that is answered with nothing.
        command = self.pending_sync_command
        if command is not None and command.name == "AUTHENTICATE" and data.startswith(b"+"):
            self.transport.write(b"\r\n")


class Client(aioimaplib.IMAP4):  # type: ignore[misc]  # it has no types
    """Over such a protocol; its connection is begun at once."""

    def create_client(
        self,
        host: str,
        port: int,
        loop: asyncio.AbstractEventLoop | None,
        conn_lost_cb: Callable[[Exception | None], None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        running = asyncio.get_running_loop()
        self.protocol = Protocol(running)
        connecting = running.create_connection(lambda: self.protocol, host, port, ssl=ssl_context)
        self._client_task = running.create_task(connecting)
