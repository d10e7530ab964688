"""The house's rules: what the operator configured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every mail. Addresses and domains in lower case."""

    own_addresses: frozenset[str]
    """Of this mailbox and of every other that this service answers."""
    allowed: frozenset[str] = frozenset({EVERYBODY})
    """Addresses, domains (with or without ``@`` before them; of all below one: ``.example.org``), ``*``."""
    blocked: frozenset[str] = frozenset()
    urgent: frozenset[str] = frozenset()
    """Senders whose mail goes first."""
    largest: int = 25 * 1024 * 1024
    """Bytes."""
    per_sender: int = 10
    """Answers an hour."""
    copies_per_sender: int = 3
    """Answers an hour to mails with several recipients, or with us in Cc."""
    in_all: int = 100
    """Answers an hour."""
    per_thread: int = 20
    """Answers a day."""
    retry_after: timedelta = timedelta(minutes=2)
    """For what waits for a scanner or a name server."""
