"""Text of users at rest: sealed with a key derived from SECRET_KEY, where there is one.

A sealed value is a byte that names the form, 12 random bytes, and AES-256-GCM's output (NIST SP 800-38D).
Each purpose has a key of its own (HKDF-SHA-256, RFC 5869), and each value is bound to the place where it
is kept, so that nobody who can write to the store can put one user's text in another's place.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES = 32
_NONCE_BYTES = 12
_PLAIN = b"\x00"
_SEALED = b"\x01"


class Unreadable(Exception):
    """A value that was not written by this seal for this place, or was changed since."""


class Seal(Protocol):
    """Keeps values unreadable to whoever sees the store, or not, and names the places of values."""

    def close(self, value: bytes, place: str) -> bytes:
        """The value as it is stored."""

    def open(self, stored: bytes, place: str) -> bytes:
        """The value again. Raises Unreadable."""

    def name(self, *parts: bytes) -> str:
        """A name of 64 hexadecimal digits for these parts, in this order; the same each time."""


class PlainSeal:
    """Implements :class:`Seal` where there is no SECRET_KEY: values are stored as they are."""

    def close(self, value: bytes, place: str) -> bytes:
        return _PLAIN + value

    def open(self, stored: bytes, place: str) -> bytes:
        if stored[:1] != _PLAIN:
            raise Unreadable
        return stored[1:]

    def name(self, *parts: bytes) -> str:
        return hashlib.sha256(_joined(parts)).hexdigest()


class SecretSeal:
    """Implements :class:`Seal`. A name tells nothing about its parts, not even to who guesses them."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        derived = HKDF(SHA256(), 2 * _KEY_BYTES, salt=None, info=b"neo/" + purpose.encode()).derive(secret)
        self._cipher = AESGCM(derived[:_KEY_BYTES])
        self._name_key = derived[_KEY_BYTES:]

    def close(self, value: bytes, place: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _SEALED + nonce + self._cipher.encrypt(nonce, value, place.encode())

    def open(self, stored: bytes, place: str) -> bytes:
        if stored[:1] != _SEALED:
            raise Unreadable
        nonce, sealed = stored[1 : 1 + _NONCE_BYTES], stored[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, sealed, place.encode())
        except (InvalidTag, ValueError):
            raise Unreadable from None

    def name(self, *parts: bytes) -> str:
        return hmac.digest(self._name_key, _joined(parts), "sha256").hex()


class RotatingSeal:
    """Implements :class:`Seal` while SECRET_KEY changes: closes with the new seal, opens with any."""

    def __init__(self, new: Seal, old: Sequence[Seal]) -> None:
        self._new = new
        self._old = old

    def close(self, value: bytes, place: str) -> bytes:
        return self._new.close(value, place)

    def open(self, stored: bytes, place: str) -> bytes:
        for seal in (self._new, *self._old):
            with contextlib.suppress(Unreadable):
                return seal.open(stored, place)
        raise Unreadable

    def name(self, *parts: bytes) -> str:
        return self._new.name(*parts)


def seal_for(purpose: str, secret: str | None, old: Sequence[str] = ()) -> Seal:
    """The seal for one kind of values; without a secret, one that hides nothing.

    Args:
        old: secrets of before, whose values can still be opened.
    """
    new = PlainSeal() if secret is None else SecretSeal(secret.encode(), purpose)
    return RotatingSeal(new, [SecretSeal(each.encode(), purpose) for each in old]) if old else new


def _joined(parts: tuple[bytes, ...]) -> bytes:
    """With lengths, so that no two lists of parts are joined alike."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
