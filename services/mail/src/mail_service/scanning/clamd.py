"""ClamAV's clamd, by INSTREAM (clamd(8)): the file goes over the socket, whatever machine it runs on."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

from mail_service.deciding.facts import Scan
from mail_service.scanning.lines import Place, converse
from mail_service.scanning.port import ScannerAway

CHUNK = 65_536
PORT = 3310


class Clamd:
    """Implements :class:`mail_service.scanning.port.Scanner`."""

    def __init__(self, address: str) -> None:
        """``host``, ``host:port``, or the path of a socket."""
        self._place = Place.parse(address, PORT)

    async def scan(self, raw: bytes) -> Scan:
        """Larger than clamd's StreamMaxLength: it was not looked at, and waits."""
        try:
            reply = await converse(self._place, _stream(raw))
        except ScannerAway:
            return Scan.AWAY
        word = reply.rstrip(b"\0\n ")
        if word.endswith(b" FOUND"):
            return Scan.FOUND
        return Scan.CLEAN if word == b"stream: OK" else Scan.AWAY

    async def ping(self) -> float:
        """See :class:`mail_service.scanning.port.Scanner`."""
        start = time.monotonic()
        if not (await converse(self._place, [b"zPING\0"])).startswith(b"PONG"):
            raise ScannerAway("no PONG")
        return time.monotonic() - start


def _stream(raw: bytes) -> Iterator[bytes]:
    yield b"zINSTREAM\0"
    for start in range(0, len(raw), CHUNK):
        chunk = raw[start : start + CHUNK]
        yield struct.pack("!L", len(chunk)) + chunk
    yield struct.pack("!L", 0)
