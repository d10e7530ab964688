"""What people find in their mailboxes, by IMAP, and when it came there."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from mail_servers import Dovecot

_QUEUE_ID = re.compile(r"\(Postfix\) with \w+ id (\w+)")
_MOMENT = re.compile(r"(\d+)\.M(\d+)P")


@dataclass(frozen=True, slots=True)
class Received:
    """A mail of ours in somebody's mailbox."""

    person: str
    message_id: str
    in_reply_to: str
    references: tuple[str, ...]
    taken_as: str
    """Postfix's name of it, in the order in which it took mails."""


def received(dovecot: Dovecot, people: Sequence[str]) -> list[Received]:
    """All that these people have, each as their mail program finds it."""
    return [
        _read(person, email.message_from_bytes(raw)) for person in people for raw in dovecot.mails(person)
    ]


def message_ids(dovecot: Dovecot, address: str, folder: str = "INBOX") -> list[str]:
    """Of a large folder, in the order in which mails came into it."""
    with dovecot.open(address, folder) as client:
        _, lines = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        heads = [line[1] for line in lines if isinstance(line, tuple)]
    return [str(email.message_from_bytes(head)["Message-ID"]) for head in heads]


def marks(dovecot: Dovecot, address: str) -> tuple[int, int]:
    """How many mails of an inbox are marked as taken, and how many as answered."""
    with dovecot.open(address) as client:
        found = [client.search(None, what)[1][0].split() for what in ("KEYWORD $NeoDone", "ANSWERED")]
    return len(found[0]), len(found[1])


def count(dovecot: Dovecot, people: Sequence[str]) -> int:
    """How many mails these people have; quick enough to be asked again and again."""
    return sum(1 for _ in _files(dovecot, people))


def moments(dovecot: Dovecot, people: Sequence[str]) -> list[float]:
    """When each of their mails came, in seconds since the epoch, in order."""
    names = (_MOMENT.match(file.name) for file in _files(dovecot, people))
    return sorted(int(name[1]) + int(name[2]) / 1e6 for name in names if name is not None)


def moments_by_id(dovecot: Dovecot, people: Sequence[str]) -> dict[str, float]:
    """When the answer to each mail came, by the Message-ID of that mail."""
    found = {}
    for file in _files(dovecot, people):
        name = _MOMENT.match(file.name)
        if name is not None:
            head = email.message_from_bytes(file.read_bytes().split(b"\n\n", 1)[0])
            found[str(head["In-Reply-To"])] = int(name[1]) + int(name[2]) / 1e6
    return found


def _files(dovecot: Dovecot, people: Sequence[str]) -> Iterator[Path]:
    for person in people:
        for folder in ("new", "cur"):
            place = dovecot.maildir(person) / folder
            if place.exists():
                yield from place.iterdir()


def _read(person: str, mail: Message) -> Received:
    taken_as = [match[1] for line in mail.get_all("Received", []) if (match := _QUEUE_ID.search(str(line)))]
    return Received(
        person,
        str(mail["Message-ID"]),
        str(mail["In-Reply-To"]),
        tuple(str(mail.get("References", "")).split()),
        taken_as[-1] if taken_as else "",
    )
