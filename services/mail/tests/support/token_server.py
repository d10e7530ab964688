"""A strict token server (RFC 6749, section 6) whose tokens the tests' Dovecot takes for XOAUTH2."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import httpx
from fastapi import FastAPI, Request, Response

from servers import HOST
from servicekit.serving.http import serving

CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN = "neo", "client-secret", "refresh-1"
LIFE_SECONDS = 3_600


class TokenServer:
    """Behind ``transport``; says no in the words of RFC 6749, 5.2."""

    def __init__(self, user: str, key: bytes) -> None:
        """``key``: of whoever takes the tokens."""
        self.transport = httpx.MockTransport(self.answer)
        self.asked = 0
        self.refresh_token = REFRESH_TOKEN
        """The one that is taken; it changes with ``rotating``."""
        self.rotating = False
        self.broken: httpx.Response | None = None
        """What is answered instead."""
        self.wrong_tokens = 0
        """So many of the next tokens are good for nothing."""
        self._user = user
        self._key = key

    def answer(self, request: httpx.Request) -> httpx.Response:
        """To one request."""
        self.asked += 1
        if self.broken is not None:
            return self.broken
        if request.method != "POST" or request.url != "https://tokens.test/token":
            return httpx.Response(404)
        if request.headers["Content-Type"] != "application/x-www-form-urlencoded":
            return _refusal("invalid_request")
        form = dict(parse_qsl(request.content.decode(), strict_parsing=True))
        if (refusal := self._refusal(form)) is not None:
            return refusal
        answer = {"access_token": self._token(), "token_type": "Bearer", "expires_in": LIFE_SECONDS}
        if self.rotating:
            self.refresh_token = answer["refresh_token"] = f"refresh-{self.asked + 1}"
        return httpx.Response(200, json=answer)

    def _refusal(self, form: dict[str, str]) -> httpx.Response | None:
        known = {"grant_type", "client_id", "client_secret", "refresh_token"}
        if form.get("grant_type") != "refresh_token":
            return _refusal("unsupported_grant_type")
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return _refusal("invalid_client", 401)
        if form.get("refresh_token") != self.refresh_token:
            return _refusal("invalid_grant")
        return _refusal("invalid_request") if set(form) != known else None

    def _token(self) -> str:
        """A JSON Web Token (RFC 7519) for this user."""
        now = int(time.time())
        claims = {"email": self._user, "sub": self._user, "iat": now, "exp": now + LIFE_SECONDS}
        claims |= {"jti": self.asked}
        signed = b".".join(map(_encoded, ({"alg": "HS256", "typ": "JWT"}, claims)))
        key, self.wrong_tokens = (b"wrong", self.wrong_tokens - 1) if self.wrong_tokens else (self._key, 0)
        signature = hmac.new(key, signed, hashlib.sha256).digest()
        return f"{signed.decode()}.{_base64(signature).decode()}"


@asynccontextmanager
async def served(server: TokenServer) -> AsyncIterator[str]:
    """Over a real socket; its address."""
    app = FastAPI()

    @app.post("/token")
    async def token(request: Request) -> Response:
        body, kind = await request.body(), request.headers.get("content-type", "")
        url = "https://tokens.test/token"
        asked = httpx.Request("POST", url, content=body, headers={"content-type": kind})
        found = server.answer(asked)
        return Response(found.content, found.status_code, media_type="application/json")

    async with serving(app, HOST, 0) as port:
        yield f"http://{HOST}:{port}/token"


def _refusal(error: str, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": error})


def _encoded(value: object) -> bytes:
    return _base64(json.dumps(value).encode())


def _base64(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")
