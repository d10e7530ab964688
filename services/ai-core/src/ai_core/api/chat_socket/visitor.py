"""Who is at the other end of a chat socket, and where their page comes from."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from ai_core.access.assembly import Access
from ai_core.access.caller import Scope
from ai_core.access.credentials import key_in
from ai_core.api.gate import check_scope
from ai_core.api.route_access import RouteAccess
from ai_core.errors import Forbidden

_NOT_PASSED_ON = (
    b"connection",
    b"upgrade",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"transfer-encoding",
    b"expect",
    b"origin",
    b"x-request-id",
)
_PROTOCOL = b"sec-websocket-"


class Visitor:
    """A client of the socket. What it showed is shown again with each of its requests, so a key that is
    revoked opens nothing any more, on connections that are open already either."""

    def __init__(self, scope: AsgiScope, access: Access) -> None:
        self._access = access
        self._handshake = list(scope["headers"])
        self._key_header = access.key_header.lower().encode("ascii")
        self._passed_on = [
            (name, value)
            for name, value in self._handshake
            if name not in _NOT_PASSED_ON and not name.startswith(_PROTOCOL)
        ]
        self.client: tuple[str, int] | None = scope["client"]
        self.known = False
        self.key_id = ""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Of each request."""
        return tuple(self._passed_on)

    @property
    def shows_a_key(self) -> bool:
        """In its headers."""
        return key_in(self._handshake, self._key_header, basic=False) is not None

    async def show(self, key: str | None) -> None:
        """Be known by a key, or by the one in the headers (None), from now on.

        Raises:
            Unauthorized, Forbidden, StorageUnavailable: the key does not open this.
        """
        headers = self._handshake if key is None else self._with(key)
        caller = await self._access.authenticator.authenticate(headers, self.client)
        check_scope(caller, RouteAccess(Scope.GENERATE))
        self.known = True
        self.key_id = caller.key_id
        if key is not None:
            self._passed_on = [pair for pair in self._passed_on if not self._names_a_key(pair)]
            self._passed_on.append((self._key_header, key.encode("ascii")))

    def _with(self, key: str) -> list[tuple[bytes, bytes]]:
        others = [pair for pair in self._handshake if not self._names_a_key(pair)]
        return [*others, (self._key_header, key.encode("ascii"))]

    def _names_a_key(self, pair: tuple[bytes, bytes]) -> bool:
        return pair[0] in {self._key_header, b"authorization"}


def check_origin(headers: Headers, allowed: Collection[str]) -> None:
    """Programs send no Origin; pages may be those of the operator's list, or come from this very host.

    A browser lets any page open a WebSocket, and asks nobody before (RFC 6455, section 10.2).

    Raises:
        Forbidden: a page of elsewhere.
    """
    origin = headers.get("origin")
    if origin is None or origin.lower() in allowed:
        return
    if urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != "":
        return
    raise Forbidden(
        "Pages of this origin may not open a connection. The operator lists origins in CORS_ORIGINS.",
        code="origin_not_allowed",
    )
