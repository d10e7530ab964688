"""Which thread a mail belongs to, and how an answer says where it belongs. Pure.

RFC 5322, section 3.6.4: ``In-Reply-To`` and ``References``, never the subject. What was written before is
only used where the sender took part in it: a thread is between one person and one of our accounts, so that
nobody reads by a forged ``References`` what a stranger wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from mail_service.letters import Letter

MAX_REFERENCES = 40
"""Of an answer: the first, and the newest."""
MAX_ID_CHARACTERS = 250
"""A longer Message-ID is not repeated; a line of a header has at most 998 (RFC 5322, section 2.1.1)."""
_ANCHORS = 100
_MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]+>")


class Known(Protocol):
    """What is known of a Message-ID: which thread it is from, and who takes part."""

    @property
    def thread(self) -> str:
        """Its name."""

    @property
    def persons(self) -> frozenset[str]:
        """Their names."""


def anchors(letter: Letter) -> tuple[str, ...]:
    """The Message-IDs that a mail answers to, the closest first; not more than can be looked up at once."""
    closest = [*letter.in_reply_to, *reversed(letter.references)]
    return tuple(dict.fromkeys(closest))[:_ANCHORS]


def thread_of(letter: Letter, known: Mapping[str, Known], person: str) -> str | None:
    """The thread that a mail goes on with.

    Args:
        known: what is known of its anchors.
        person: the name of its sender.

    Returns:
        None: it begins one.
    """
    for anchor in anchors(letter):
        found = known.get(anchor)
        if found is not None and person in found.persons:
            return found.thread
    return None


def root_of(letter: Letter) -> str:
    """The Message-ID with which a thread began, as far as a mail tells: two mails of one thread that come in
    the wrong order, or at once in two places, agree on it."""
    if letter.references:
        return letter.references[0]
    return letter.in_reply_to[0] if letter.in_reply_to else letter.message_id


def own_id(letter: Letter) -> str | None:
    """A mail's Message-ID, if it has one that can be repeated."""
    given = letter.header("message-id")
    if given is None or letter.message_id not in given:
        return None
    return letter.message_id if _repeatable(letter.message_id) else None


def references_for(letter: Letter) -> tuple[str, ...]:
    """What the answer's ``References`` hold, oldest first: those of the mail and the mail itself."""
    before = letter.references
    if not before and len(letter.in_reply_to) == 1:
        before = letter.in_reply_to
    own = own_id(letter)
    chain = [one for one in before if _repeatable(one) and one != own]
    chain = list(dict.fromkeys(chain)) + ([own] if own is not None else [])
    if len(chain) <= MAX_REFERENCES:
        return tuple(chain)
    return (chain[0], *chain[1 - MAX_REFERENCES :])


def _repeatable(message_id: str) -> bool:
    return len(message_id) <= MAX_ID_CHARACTERS and _MESSAGE_ID.fullmatch(message_id) is not None
