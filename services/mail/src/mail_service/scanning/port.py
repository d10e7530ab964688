"""The port: bytes in, a word out. Nobody answers: that is a word, too, and the mail waits."""

from __future__ import annotations

from typing import Protocol

from mail_service.deciding.facts import Scan

TIMEOUT = 30.0
"""Seconds for one mail, connecting included."""
CONNECT_TIMEOUT = 3.0


class ScannerAway(Exception):
    """It cannot be reached, is silent, or says what cannot be understood."""


class Scanner(Protocol):
    """Looks at whole mails."""

    async def scan(self, raw: bytes) -> Scan:
        """CLEAN, FOUND or AWAY; never raises."""

    async def ping(self) -> float:
        """Seconds until it says that it is there. Raises ScannerAway."""


class NoScanner:
    """Where none is configured."""

    async def scan(self, raw: bytes) -> Scan:
        """OFF."""
        return Scan.OFF

    async def ping(self) -> float:
        """Nothing is there, and nothing is missing."""
        return 0.0
