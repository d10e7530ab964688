"""API keys as strings: ``neo_<id>_<secret>``.

Only a digest of the secret is stored. A plain SHA-256 is right for it: the secret is 238 random
bits, so there is nothing to guess, and a slow hash (made for passwords that people choose) would
only let strangers burn our processor with wrong keys.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass

ID_CHARACTERS = 10
SECRET_CHARACTERS = 40
"""Of 62 letters and digits each: 238 bits."""

_LETTERS = string.ascii_letters + string.digits
_ID_LETTERS = string.ascii_lowercase + string.digits
_SHAPE = re.compile(rf"neo_([a-z0-9]{{{ID_CHARACTERS}}})_([A-Za-z0-9]{{{SECRET_CHARACTERS}}})", re.ASCII)

NO_DIGEST = "0" * 64
"""Compared with where there is no key: no secret has this digest."""


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller shows it. ``secret`` stands in no log and no repr."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"PresentedKey({self.id!r}, …)"

    def __str__(self) -> str:
        """The whole key: shown once, when it is made."""
        return f"neo_{self.id}_{self.secret}"


def is_id(text: str) -> bool:
    """Whether this can be the id of a key."""
    return re.fullmatch(rf"[a-z0-9]{{{ID_CHARACTERS}}}", text, re.ASCII) is not None


def new_id() -> str:
    """A public id, unused with near certainty."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(ID_CHARACTERS))


def new_secret() -> str:
    """A secret nobody can guess."""
    return "".join(secrets.choice(_LETTERS) for _ in range(SECRET_CHARACTERS))


def new_key() -> PresentedKey:
    """A new key."""
    return PresentedKey(new_id(), new_secret())


def parse_key(text: str) -> PresentedKey | None:
    """The parts of a key, or None for what cannot be one."""
    found = _SHAPE.fullmatch(text)
    return None if found is None else PresentedKey(found[1], found[2])


def digest_of(secret: str) -> str:
    """What is stored of a secret: its SHA-256 in 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def is_one_of(digest: str, current: str, previous: str) -> bool:
    """Whether a digest is one of the two; takes as long whichever it is, or neither.

    All three have the same length, and both comparisons are made, whatever the first one says.
    """
    return hmac.compare_digest(digest, current) | hmac.compare_digest(digest, previous)
