"""The port: what a folder hands over, and what may be done there.

IMAP4rev1 is RFC 3501, IDLE RFC 2177, special-use folders RFC 6154.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class MailboxError(Exception):
    """Base of them all; the text holds nothing of users or passwords."""


class MailboxUnavailable(MailboxError):
    """The server cannot be reached, is silent, or hung up: trying again later makes sense."""


class SignInRefused(MailboxError):
    """The server, or whoever gives out its access tokens, does not take what we sign in with."""


class MailboxRefused(MailboxError):
    """The server understood and said no: the folder is missing, or full."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """How far a folder has been read: every mail up to and with ``uid`` is stored, or need not be."""

    uid_validity: int
    """UIDs mean something only together with this; a server that gives out new ones changes it."""
    uid: int
    """0: nothing yet."""


class Mark(StrEnum):
    """What is written on a mail in its folder, for us and for people who look into it."""

    TAKEN = "taken"
    """It is stored. The keyword ``$NeoDone``; ``\\Answered`` where the server keeps no keywords."""
    ANSWERED = "answered"
    """Its answer went out: ``\\Answered``."""


class Box(StrEnum):
    """Folders where copies of our own mails are put; found by their special use."""

    SENT = "sent"
    DRAFTS = "drafts"


class Unread(StrEnum):
    """Why only the head of a mail was fetched."""

    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    """The server failed each time it was asked for this mail, and only for this one."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail in the folder."""

    cursor: Cursor
    """Where it lies; the folder's cursor once it is stored."""
    size: int
    """Bytes, as the server counts them."""
    arrived_at: datetime
    """When it came into the folder (INTERNALDATE)."""
    content: bytes = field(repr=False)
    """All of it; without its body if ``unread`` says so, and perhaps empty then."""
    unread: Unread | None = None


class Receiver(Protocol):
    """Takes mails into the keeping of the service. What it raises lets the folder wait and ask again:
    nothing is lost by it, and nothing is marked."""

    async def cursor(self, folder: str) -> Cursor | None:
        """How far this folder has been read; None: it never was.

        Args:
            folder: :attr:`Mailbox.name`.
        """

    async def take(self, folder: str, arrival: Arrival) -> None:
        """Store a mail and, in the same transaction, the cursor. Once this returns, the mail is marked.

        The same mail may come again, under another cursor: after a change of ``uid_validity`` the whole
        folder is walked through, but for the mails that are marked. A key made of Message-ID and digest knows
        it again. Within one ``uid_validity`` a cursor never goes back.
        """

    async def pass_over(self, folder: str, cursor: Cursor) -> None:
        """Store the cursor alone: what lies before it need not be taken."""


class Mailbox(Protocol):
    """One folder of one account."""

    @property
    def name(self) -> str:
        """What its cursor is stored under: the same over restarts, different for each folder."""

    @property
    def watching(self) -> bool:
        """Whether new mails are noticed just now."""

    async def watch(self, receiver: Receiver) -> None:
        """Hand over all mails after the receiver's cursor, oldest first and one at a time, and go on with new
        ones as they come; until cancelled. Lost connections are made anew, with growing pauses. Several
        processes may watch one folder; it costs the server, but no mail is taken twice by it."""

    async def fetch(self, cursor: Cursor) -> bytes | None:
        """The mail at this place, once more; None: it is gone or too large, or the folder's ``uid_validity``
        has changed. Raises MailboxError."""

    async def mark(self, cursor: Cursor, mark: Mark) -> None:
        """Mark the mail at this place. One that is gone is fine, and so is a folder whose ``uid_validity``
        has changed. Raises MailboxError."""

    async def keep(self, box: Box, content: bytes, *, new: bool = False) -> None:
        """Put a copy of a mail of ours into a folder, once per Message-ID. Raises MailboxError.

        Args:
            new: nobody has tried before, so the folder need not be searched for it.
        """

    async def ping(self) -> float:
        """Seconds until the server answers one who is signed in. Raises MailboxError."""

    async def close(self) -> None:
        """Sign out. Call it once ``watch`` has ended."""
