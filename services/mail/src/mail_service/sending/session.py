"""One SMTP session: signed in, and good for one mail after another."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from aiosmtplib import SMTP, SMTPException, SMTPResponseException
from aiosmtplib.protocol import SMTPProtocol

from mail_service.sending.checking import prepared
from mail_service.sending.port import NotSent, OutgoingMail, Refused, Unknown
from mail_service.signing_in import AccessTokens, NoToken, Password

SLOWEST_BYTES_PER_SECOND = 5_000
"""A server that takes a mail more slowly counts as hanging."""
PIECE_BYTES = 65_536
_COMPLETED, _START_INPUT, _CLOSING = 250, 354, 421
# The server does not know us, or not well enough (RFC 4954, 6): that says nothing of the mail.
_ABOUT_US = frozenset({530, 534, 535, 538})


class Security(Enum):
    """How the connection is kept from strangers."""

    TLS = "tls"
    """From the first byte on, as on port 465 (RFC 8314)."""
    STARTTLS = "starttls"
    """Before anything is said, as on port 587; a server without it is not spoken to."""
    NONE = "none"
    """For servers on this machine."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Who takes our mail."""

    host: str
    port: int
    security: Security
    tls: ssl.SSLContext | None
    """Whose certificates are trusted; None: those that the system trusts."""
    signing_in: Password | AccessTokens | None
    name: str
    """What we call ourselves (EHLO): a domain."""


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds."""

    answer: float = 60.0
    """To a command."""
    verdict: float = 600.0
    """After the last dot: a server may be slow there, and whoever leaves earlier makes it deliver twice
    (RFC 5321, 4.5.3.2.6)."""
    keep: float = 60.0
    """That a session is kept for the next mail."""


class Session:
    """Whoever gets a NotSent or Unknown from it asks ``usable`` before the next mail."""

    def __init__(self, server: SmtpServer, timing: Timing) -> None:
        self._server = server
        self._timing = timing
        self._used_at = time.monotonic()
        self._client = SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=server.name,
            timeout=timing.answer,
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=server.tls,
        )

    @classmethod
    async def open(cls, server: SmtpServer, timing: Timing) -> Session:
        """Connect and sign in. Raises NotSent."""
        session = cls(server, timing)
        try:
            await session._client.connect()
            await session._sign_in()
        except (SMTPException, OSError, ValueError) as error:
            session.abort()
            # Whatever it says, it does not say it of a mail.
            raise NotSent("the server does not let us in", _code(error)) from error
        except BaseException:
            session.abort()
            raise
        return session

    @property
    def usable(self) -> bool:
        """Whether the next mail may be tried with it."""
        return self._client.is_connected and time.monotonic() - self._used_at < self._timing.keep

    def abort(self) -> None:
        """Hang up without a word."""
        if (transport := self._client.transport) is not None and isinstance(transport, asyncio.Transport):
            transport.abort()
        self._client.close()

    async def close(self) -> None:
        """Take leave, if the server listens."""
        try:
            await self._client.quit()
        except (SMTPException, OSError):
            self.abort()

    async def check(self) -> None:
        """Ask whether the server is there. Raises NotSent."""
        await self._say("RSET")

    async def deliver(self, mail: OutgoingMail) -> None:
        """Raises NotSent, Refused, Unknown."""
        content = prepared(mail.content)
        options = self._options(mail, content)
        international = "SMTPUTF8" in options
        encoding = "utf-8" if international else "ascii"
        await self._say("MAIL", f"FROM:<{mail.sender}>", *options, encoding=encoding)
        await self._say("RCPT", f"TO:<{mail.recipient}>", encoding=encoding)
        await self._say("DATA", expected=_START_INPUT)
        await self._hand_over(content)
        self._used_at = time.monotonic()

    async def _sign_in(self) -> None:
        who = self._server.signing_in
        await self._client.ehlo()
        # A server that lets everybody in who reaches it offers no AUTH, and one that does not says so later.
        if who is None or not self._client.supports_extension("auth"):
            return
        if isinstance(who, Password):
            await self._client.login(who.user, who.password)
            return
        try:
            token = await who.token()
        except NoToken as error:
            raise NotSent(str(error)) from error
        try:
            await self._client.auth_xoauth2(who.user, token)
        except SMTPResponseException:
            who.refused(token)
            raise

    def _options(self, mail: OutgoingMail, content: bytes) -> list[str]:
        supports = self._client.supports_extension
        options = [f"SIZE={len(content)}"] if supports("size") else []
        if supports("8bitmime") and not content.isascii():
            options.append("BODY=8BITMIME")
        if not (mail.sender + mail.recipient).isascii():
            if not supports("smtputf8"):
                raise Refused("the server takes no addresses beyond ASCII")
            options.append("SMTPUTF8")
        return options

    async def _say(self, verb: str, *words: str, expected: int = _COMPLETED, encoding: str = "ascii") -> None:
        """One command. Raises NotSent, Refused."""
        try:
            response = await self._client.execute_command(
                verb.encode(), *(word.encode(encoding) for word in words)
            )
        except (SMTPException, OSError) as error:
            self.abort()
            raise NotSent(f"the server did not answer to {verb}", _code(error)) from error
        # 251 and 252 take a recipient as well.
        taken = {_COMPLETED, 251, 252} if expected == _COMPLETED else {expected}
        if response.code not in taken:
            self._refuse(response.code, verb)

    async def _hand_over(self, content: bytes) -> None:
        """The mail without its last dot, then the dot: only from there on the server may have it."""
        protocol = self._client.protocol
        transport = self._client.transport
        if protocol is None or not isinstance(transport, asyncio.WriteTransport):
            raise NotSent("the server hung up before the mail")
        try:
            # Not 0: asyncio's TLS takes an empty buffer for a full one then, every other time.
            transport.set_write_buffer_limits(high=1)
            seconds = self._timing.answer + len(content) / SLOWEST_BYTES_PER_SECOND
            async with asyncio.timeout(seconds):
                # In pieces, since TLS takes whatever it is given at once.
                for start in range(0, len(content), PIECE_BYTES):
                    protocol.write(content[start : start + PIECE_BYTES])
                    await protocol._drain_helper()
            if transport.is_closing():
                raise ConnectionResetError
        except (SMTPException, OSError) as error:
            self.abort()
            raise NotSent("the server did not take all of the mail") from error
        await self._end(protocol)

    async def _end(self, protocol: SMTPProtocol) -> None:
        try:
            protocol.write(b".\r\n")
            response = await protocol.read_response(self._timing.verdict)
        except (SMTPException, OSError) as error:
            self.abort()
            raise Unknown("the server's last word is lost") from error
        if 400 <= response.code < 600:
            self._refuse(response.code, "the mail")
        if not 200 <= response.code < 300:
            self.abort()
            raise Unknown("the server's last word cannot be understood")

    def _refuse(self, code: int, what: str) -> NoReturn:
        permanent = 500 <= code < 600 and code not in _ABOUT_US
        if code == _CLOSING or not 400 <= code < 600:
            # It is about to hang up, or says what nobody can make sense of.
            self.abort()
        if permanent:
            raise Refused(f"the server refuses {what}", code)
        raise NotSent(f"the server does not take {what} now", code)


def _code(error: BaseException) -> int | None:
    return error.code if isinstance(error, SMTPResponseException) and error.code > 0 else None
