"""The port: how a mail goes out, and how that may fail. SMTP is RFC 5321, submission RFC 6409."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class OutletError(Exception):
    """Base of them all; the text holds nothing that people wrote, and no address.

    Attributes:
        code: the server's three digits (RFC 5321, 4.2.3), or None where it did not speak.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class NotSent(OutletError):
    """Nobody has the mail, and trying again later makes sense: the server is away, is busy, or does not take
    what *we* are, as when a password has expired."""


class Refused(OutletError):
    """The server will never take this mail, or not for this recipient: a dead letter."""


class Unknown(OutletError):
    """All of the mail went out, and nobody knows whether the server took it. Sending it again may double it;
    under the same Message-ID most readers show it once."""


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A mail as it goes out."""

    sender: str
    """The envelope's, ``local@domain``: where bounces go."""
    recipient: str
    content: bytes = field(repr=False)
    """All of it, with its Message-ID: only line ends and dots are changed on the way (RFC 5321, 4.5.2)."""


class Access(Enum):
    """How it went when we last asked to be let in."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    """No connection, or none that can be trusted."""
    REFUSED = "refused"
    """The server is there, and takes no mail from us: the password has changed, or too many ask."""


class Outlet(Protocol):
    """Each call tries once."""

    @property
    def access(self) -> Access | None:
        """As of the last session that was begun; None before the first."""

    async def send(self, mail: OutgoingMail) -> None:
        """Hand a mail to the server; it has it once this returns. Raises NotSent, Refused, Unknown."""

    async def ping(self) -> float:
        """Seconds until the server answers one who is signed in. Raises NotSent."""

    async def look(self) -> Access:
        """Come in by a session of its own, and leave: what is kept open says nothing of the password."""

    async def close(self) -> None:
        """Hang up. What is under way is cut off."""
