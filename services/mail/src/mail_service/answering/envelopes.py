"""What came in and what goes out, as the journal keeps it: sealed bytes."""

from __future__ import annotations

from datetime import datetime

import msgspec

from mail_service.composing.words import Phrase
from mail_service.language import Language
from servicekit.storage.sealing import Seal

_PLACE_OF_INCOMING = "incoming"
_PLACE_OF_PARTS = "part"


class CameIn(msgspec.Struct, frozen=True, tag="mail"):
    """A mail as it lay in a folder."""

    account: str
    """The address of the account."""
    folder: str
    uid_validity: int
    uid: int
    arrived_at: datetime
    thread: str
    raw: bytes
    size: int
    """Bytes, as the server counted them."""
    unread: str = ""
    """Why only its head was fetched; empty: all of it is here."""


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """A word of our own to somebody who wrote."""

    account: str
    which: Phrase
    language: Language
    address: str
    name: str
    subject: str
    in_reply_to: str | None
    references: tuple[str, ...]
    values: dict[str, str] = {}
    instead_of: int | None = None
    """The entry whose mail gets no other answer than this."""


class Sending(msgspec.Struct, frozen=True, tag="send"):
    """A mail that goes out, or into the drafts."""

    account: str
    sender: str
    """Of the envelope."""
    recipient: str
    content: bytes
    draft: bool = False


class Copying(msgspec.Struct, frozen=True, tag="copy"):
    """The mail before this goes into the folder of what was sent."""

    account: str


class Marking(msgspec.Struct, frozen=True, tag="mark"):
    """The mail that was answered is marked in its folder."""

    folder: str
    uid_validity: int
    uid: int


class Forgetting(msgspec.Struct, frozen=True, tag="forget"):
    """Once the mail before this is out, everything of somebody is deleted."""

    person: str


Incoming = CameIn | Notice
Outgoing = Sending | Copying | Marking | Forgetting

_incoming: msgspec.msgpack.Decoder[Incoming] = msgspec.msgpack.Decoder(CameIn | Notice)
_outgoing: msgspec.msgpack.Decoder[Outgoing] = msgspec.msgpack.Decoder(
    Sending | Copying | Marking | Forgetting
)


class Envelopes:
    """Closes and opens them; a value of one kind cannot be put in the place of one of the other.

    Opening raises ``servicekit.storage.sealing.Unreadable``.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def close_incoming(self, incoming: Incoming) -> bytes:
        """What came in."""
        return self._seal.close(msgspec.msgpack.encode(incoming), _PLACE_OF_INCOMING)

    def open_incoming(self, payload: bytes) -> Incoming:
        """The same again."""
        return _incoming.decode(self._seal.open(payload, _PLACE_OF_INCOMING))

    def close_part(self, outgoing: Outgoing) -> bytes:
        """What is to be done for an answer."""
        return self._seal.close(msgspec.msgpack.encode(outgoing), _PLACE_OF_PARTS)

    def open_part(self, content: bytes) -> Outgoing:
        """The same again."""
        return _outgoing.decode(self._seal.open(content, _PLACE_OF_PARTS))
