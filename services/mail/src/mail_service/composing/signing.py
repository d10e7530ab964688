"""DKIM signatures (RFC 6376), where the outgoing server makes none."""

from __future__ import annotations

from pathlib import Path

import dkim

_SIGNED = [
    *(b"from", b"to", b"subject", b"date", b"message-id", b"in-reply-to", b"references"),
    *(b"auto-submitted", b"mime-version", b"content-type"),
]


class SigningError(Exception):
    """The key cannot be used; the text holds nothing of it."""


class Signer:
    """Signs for one domain."""

    def __init__(self, *, domain: str, selector: str, key: bytes) -> None:
        """``key`` is a private RSA key in PEM form; its public half stands in DNS at
        ``<selector>._domainkey.<domain>``. Raises SigningError."""
        self._domain, self._selector, self._key = domain.encode("idna"), selector.encode(), key
        self.sign(b"From: a@example.org\r\n\r\n\r\n")

    def sign(self, content: bytes) -> bytes:
        """The mail with its signature before it. Raises SigningError."""
        present = {
            line.partition(b":")[0].lower() for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n")
        }
        try:
            signature: bytes = dkim.sign(
                content,
                self._selector,
                self._domain,
                self._key,
                # From is signed once more than it is there: nobody can add a second one.
                include_headers=[name for name in _SIGNED if name in present] + [b"from"],
                canonicalize=(b"relaxed", b"relaxed"),
            )
        except (dkim.DKIMException, ValueError) as error:
            raise SigningError(f"DKIM_KEY cannot be used ({type(error).__name__})") from None
        return signature + content


def load_signer(*, domain: str, selector: str, path: Path) -> Signer:
    """The signer with the key in a file. Raises SigningError."""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise SigningError(f"DKIM_KEY_PATH names {path}, which cannot be read ({error.strerror}).") from error
    return Signer(domain=domain, selector=selector, key=key)
