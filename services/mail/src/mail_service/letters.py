"""What a mail is to this service once it has been read: plain data, whatever its bytes looked like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox (RFC 5322, 3.4)."""

    address: str
    """Lower case, ``local@domain``; the domain in ASCII."""
    name: str = ""
    """As it is shown, on one line, without control characters; data of a stranger."""

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


class Verdict(StrEnum):
    """What is known of who really sent it."""

    ALIGNED = "aligned"
    """DKIM or SPF passed for the domain in ``From`` (DMARC's alignment)."""
    FAILED = "failed"
    """DMARC says that it is forged."""
    UNKNOWN = "unknown"
    """Nobody vouches for it."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A file in a mail, not yet read."""

    name: str
    """As the sender called it, data of a stranger and never a path."""
    content_type: str
    content: bytes


class Remark(StrEnum):
    """What a reader notices about a mail as a whole."""

    NO_MAIL = "no_mail"
    """Bytes without any header that a mail has."""
    BROKEN = "broken"
    """Not what the standards ask for; read all the same."""
    CUT = "cut"
    """More, deeper or longer than what is looked at."""
    NO_MESSAGE_ID = "no_message_id"
    SEVERAL_AUTHORS = "several_authors"
    """More than one address in ``From``, or more than one ``From``."""
    ENCRYPTED = "encrypted"
    """S/MIME or PGP: not for us to read."""
    SIGNED = "signed"
    CALENDAR = "calendar"
    """An invitation, or an answer to one."""
    CALENDAR_REPLY = "calendar_reply"
    """An answer to an invitation (RFC 5546, 3.2.3)."""
    REPORT = "report"
    """From a mail server, on delivery or reading (RFC 6522)."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail.

    Everything but what this service computed itself is data of a stranger.
    """

    message_id: str
    """With its angle brackets; an artificial one, made from the digest, where it had none."""
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    """Oldest first."""
    sender: Address | None
    """The only address in ``From``; None: there is none, or more than one."""
    reply_to: Address | None
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    subject: str
    """Decoded, on one line; may be empty."""
    date: datetime | None
    text: str
    """What the sender wrote now, without what is quoted and without the signature."""
    quoted: str
    """What they quoted."""
    attachments: tuple[Attached, ...]
    headers: tuple[tuple[str, str], ...]
    """All of them in order: names in lower case, values unfolded, and as they stand where no parser takes
    them."""
    digest: str
    """SHA-256 of the bytes, hexadecimal."""
    size: int
    """Bytes."""
    signature: str = ""
    """What stood under the text: not part of it."""
    links: int = 0
    """To web pages, in all parts."""
    remarks: frozenset[Remark] = frozenset()

    def header(self, name: str) -> str | None:
        """The topmost of that name, given in lower case."""
        return next((value for key, value in self.headers if key == name), None)
