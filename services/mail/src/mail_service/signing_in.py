"""What we sign in with: a password, or access tokens that a refresh token gets (XOAUTH2).

RFC 6749, section 6; https://developers.google.com/gmail/imap/xoauth2-protocol
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx
import msgspec

SPARE_SECONDS = 60.0
"""A token that ends sooner is not used any more: signing in takes time, and clocks differ."""
USUAL_LIFE_SECONDS = 3_600.0
"""Where the server does not say how long a token lasts."""
REQUEST_SECONDS = 20.0
MAX_ANSWER_BYTES = 100_000


class NoToken(Exception):
    """There is no access token.

    Attributes:
        refused: the refresh token, or who we are, is not taken: only a person can mend it.
    """

    def __init__(self, message: str, *, refused: bool) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Password:
    user: str
    password: str = field(repr=False)


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float | None = None
    refresh_token: str | None = None


class AccessTokens:
    """Access tokens of one account, each used until shortly before its end."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        user: str,
        *,
        token_url: str,
        client_id: str,
        client_secret: str | None,
        refresh_token: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``http`` is closed by whoever made it; ``client_secret`` is None for a public client."""
        self.user = user
        self._http = http
        self._url = token_url
        self._client = {"client_id": client_id}
        if client_secret is not None:
            self._client["client_secret"] = client_secret
        self._refresh_token = refresh_token
        self._clock = clock
        self._asking = asyncio.Lock()
        self._token, self._ends_at = "", 0.0

    async def token(self) -> str:
        """One that still lasts. Raises NoToken."""
        async with self._asking:
            if not self._token or self._clock() >= self._ends_at - SPARE_SECONDS:
                await self._ask()
            return self._token

    def refused(self, token: str) -> None:
        """The mail server did not take this one: the next call gets another."""
        if token == self._token:
            self._token = ""

    async def _ask(self) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": self._refresh_token, **self._client}
        asked_at = self._clock()
        try:
            response = await self._http.post(self._url, data=form, timeout=REQUEST_SECONDS)
        except httpx.HTTPError as error:
            raise NoToken("the token server cannot be reached", refused=False) from error
        if response.status_code != HTTPStatus.OK:
            # 400 invalid_grant and 401 invalid_client (RFC 6749, 5.2); all others may pass.
            refused = response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}
            raise NoToken(f"the token server answered {response.status_code}", refused=refused)
        answer = _read(response)
        self._token = answer.access_token
        life = answer.expires_in if answer.expires_in is not None else USUAL_LIFE_SECONDS
        self._ends_at = asked_at + life
        # Some servers give out a new one each time, and take the old one only for a while.
        self._refresh_token = answer.refresh_token or self._refresh_token


def _read(response: httpx.Response) -> _Answer:
    try:
        if len(response.content) > MAX_ANSWER_BYTES:
            raise ValueError
        answer = msgspec.json.decode(response.content, type=_Answer, strict=False)
    except (ValueError, msgspec.MsgspecError):
        raise NoToken("the token server's answer cannot be read", refused=False) from None
    if not answer.access_token.isascii() or not answer.access_token.isprintable() or not answer.access_token:
        raise NoToken("the token server's answer holds no token", refused=False)
    return answer
