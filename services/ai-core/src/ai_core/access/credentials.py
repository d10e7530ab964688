"""Where in a request's headers its API key stands."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]
"""As in ASGI: names in lower case."""


def key_in(headers: Headers, header_name: bytes, *, basic: bool = False) -> str | None:
    """The key that a request shows, or None.

    The named header goes before ``Authorization: Bearer``; with ``basic``, a browser may send it
    as the password of HTTP Basic (RFC 7617), under any user name.
    """
    authorization = None
    for name, value in headers:
        if name == header_name and value.strip():
            return value.decode("latin-1").strip()
        if name == b"authorization" and authorization is None:
            authorization = value.decode("latin-1")
    return None if authorization is None else _in_authorization(authorization, basic=basic)


def _in_authorization(value: str, *, basic: bool) -> str | None:
    scheme, _, credentials = value.strip().partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "bearer":
        return credentials or None
    if scheme.lower() == "basic" and basic:
        return _password(credentials)
    return None


def _password(credentials: str) -> str | None:
    try:
        text = base64.b64decode(credentials, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return text.partition(":")[2] or None
