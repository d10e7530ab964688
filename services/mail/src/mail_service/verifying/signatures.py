"""DKIM signatures (RFC 6376), verified from the bytes with dkimpy, which is not handed what would cost it
too much."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import dkim

from mail_service.letters import Letter
from mail_service.verifying.alignment import is_aligned

MOST = 4
"""Signatures that are looked at."""
LONGEST_SIGNATURE = 4_000
LONGEST_KEY = 1_000
"""Bytes of a key's record: RSA of 4,096 bits fits. Larger ones cost the reader seconds."""
LARGEST = 32 * 1024 * 1024
MOST_BLANKS = 20_000_000
"""Sum of the squares of the lengths of runs of blanks: dkimpy's steps for them."""

_TAG = re.compile(r"(?:^|;)\s{0,20}([a-zA-Z])\s{0,20}=\s{0,20}([^;]{0,3000})")
_DOMAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?\Z")
_BLANKS = re.compile(rb"[ \t]{32,}")
_READ_BY_US = ("subject", "reply-to")
"""What else we act on: it must be signed, where it is there."""
_ONCE = ("from", "subject", "reply-to", "to", "cc", "date", "message-id", "content-type", "in-reply-to")


@dataclass(frozen=True, slots=True)
class Signature:
    """One that may vouch for the sender."""

    index: int
    """Among all signatures of the mail, the topmost is 0."""
    domain: str
    key_name: str
    """Where its key is published."""


def vouching(letter: Letter) -> tuple[Signature, ...]:
    """The signatures of the sender's own domain or organisation, which cover all that we act on."""
    if letter.sender is None or letter.size > LARGEST or is_ambiguous(letter):
        return ()
    values = [value for name, value in letter.headers if name == "dkim-signature"]
    found = (_signature(index, value, letter) for index, value in enumerate(values))
    return tuple(each for each in found if each is not None)[:MOST]


def is_ambiguous(letter: Letter) -> bool:
    """A second header of a kind may stand above the one that was signed."""
    names = [name for name, _ in letter.headers]
    return any(names.count(name) > 1 for name in _ONCE)


def holds(raw: bytes, signature: Signature, keys: Sequence[bytes]) -> bool:
    """Whether it is a valid one, by the key that its domain publishes. May take a second: not for an event
    loop."""
    key = next((each for each in keys if b"p=" in each), b"")
    if not key or len(key) > LONGEST_KEY or not is_affordable(raw):
        return False
    quiet = logging.getLogger("mail_service.verifying.dkimpy")
    # It names domains, and headers.
    quiet.disabled = True
    try:
        verifier = dkim.DKIM(raw, logger=quiet)
        valid = verifier.verify(signature.index, dnsfunc=lambda name, timeout=0: key)
    except (dkim.DKIMException, ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError):
        # What dkimpy raises for broken signatures and keys.
        return False
    return bool(valid) and verifier.domain == signature.domain.encode("ascii")


def is_affordable(raw: bytes) -> bool:
    """Whether dkimpy's expressions get through it: they need quadratic time for blanks."""
    return sum((match.end() - match.start()) ** 2 for match in _BLANKS.finditer(raw)) <= MOST_BLANKS


def _signature(index: int, value: str, letter: Letter) -> Signature | None:
    tags = {match[1]: match[2].strip() for match in _TAG.finditer(value[:LONGEST_SIGNATURE])}
    domain, selector = tags.get("d", ""), tags.get("s", "")
    covered = {name.strip().lower() for name in tags.get("h", "").split(":")}
    needed = {name for name in _READ_BY_US if letter.header(name) is not None} | {"from"}
    # With a length, anybody may add to the body.
    usable = len(value) <= LONGEST_SIGNATURE and "l" not in tags and needed <= covered
    named = bool(_DOMAIN.match(domain) and _DOMAIN.match(selector))
    assert letter.sender is not None
    if not usable or not named or not is_aligned(domain, letter.sender.domain):
        return None
    return Signature(index, domain, f"{selector}._domainkey.{domain}")
