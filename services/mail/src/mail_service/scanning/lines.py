"""A conversation over a socket, whole and within a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from mail_service.scanning.port import CONNECT_TIMEOUT, TIMEOUT, ScannerAway

LONGEST_REPLY = 1_000_000
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens."""

    host: str
    port: int = 0
    path: str = ""
    """Of a Unix socket, instead of the others."""

    @classmethod
    def parse(cls, address: str, port: int) -> Place:
        """``host``, ``host:port``, ``[::1]:port``, or the absolute path of a socket."""
        if address.startswith("/"):
            return cls("", 0, address)
        host, colon, number = address.rpartition(":")
        if colon and number.isdecimal() and (":" not in host or host.endswith("]")):
            return cls(host.strip("[]"), int(number))
        return cls(address.strip("[]"), port)


async def converse(place: Place, chunks: Iterable[bytes], *, half_close: bool = False) -> bytes:
    """Send everything, and read until the server hangs up.

    Args:
        half_close: the server waits for our end of the stream.

    Raises:
        ScannerAway: also if it says nothing within a time.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                if place.path:
                    reader, writer = await asyncio.open_unix_connection(place.path)
                else:
                    reader, writer = await asyncio.open_connection(place.host, place.port)
            try:
                return await _exchange(reader, writer, chunks, half_close=half_close)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise ScannerAway("no answer") from error


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    chunks: Iterable[bytes],
    *,
    half_close: bool,
) -> bytes:
    # A server that has seen enough answers and hangs up while we still send.
    with contextlib.suppress(ConnectionError):
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        if half_close:
            writer.write_eof()
    reply = bytearray()
    while piece := await reader.read(65_536):
        reply += piece
        if len(reply) > LONGEST_REPLY:
            raise ScannerAway("an endless answer")
    return bytes(reply)
