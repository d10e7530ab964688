"""SpamAssassin's spamd, by its own protocol (spamd/PROTOCOL in its sources)."""

from __future__ import annotations

import re
import time

from mail_service.deciding.facts import Scan
from mail_service.scanning.lines import Place, converse
from mail_service.scanning.port import ScannerAway

PORT = 783
LARGEST = 500_000
"""Bytes that it is shown: it passes larger mails unseen, and spam is never so large."""
_VERDICT = re.compile(rb"^Spam: (True|Yes|False|No)\b", re.MULTILINE | re.IGNORECASE)


class Spamd:
    """Implements :class:`mail_service.scanning.port.Scanner`."""

    def __init__(self, address: str, port: int = PORT) -> None:
        """``host``, or the path of a socket."""
        self._place = Place.parse(address, port)

    async def scan(self, raw: bytes) -> Scan:
        """See :class:`mail_service.scanning.port.Scanner`."""
        part = raw[:LARGEST]
        head = f"CHECK SPAMC/1.5\r\nContent-length: {len(part)}\r\n\r\n".encode()
        try:
            reply = await converse(self._place, [head, part], half_close=True)
        except ScannerAway:
            return Scan.AWAY
        found = _VERDICT.search(reply)
        if found is None or b" EX_OK" not in reply.split(b"\r\n")[0]:
            return Scan.AWAY
        return Scan.FOUND if found[1].lower() in {b"true", b"yes"} else Scan.CLEAN

    async def ping(self) -> float:
        """See :class:`mail_service.scanning.port.Scanner`."""
        start = time.monotonic()
        if b"PONG" not in await converse(self._place, [b"PING SPAMC/1.2\r\n\r\n"], half_close=True):
            raise ScannerAway("no PONG")
        return time.monotonic() - start
