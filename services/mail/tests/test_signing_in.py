"""Signing in with access tokens, at a real Dovecot and through Postfix."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from mail_servers import Dovecot, Postfix, somebody
from mail_service.mailbox.imap import ImapMailbox, Timing
from mail_service.mailbox.port import MailboxUnavailable, SignInRefused
from mail_service.mailbox.wire import ImapServer
from mail_service.sending.port import Access, NotSent
from mail_service.sending.session import Security, SmtpServer
from mail_service.sending.smtp import SmtpOutlet
from mail_service.signing_in import AccessTokens, NoToken
from sent_mails import arrived, outgoing
from token_server import CLIENT_ID, CLIENT_SECRET, LIFE_SECONDS, REFRESH_TOKEN, TokenServer

USER = somebody()


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(dovecot: Dovecot) -> TokenServer:
    return TokenServer(USER, dovecot.token_key)


@pytest.fixture
async def tokens(server: TokenServer, clock: Clock) -> AsyncIterator[AccessTokens]:
    async with httpx.AsyncClient(transport=server.transport) as http:
        yield access(http, clock)


def access(http: httpx.AsyncClient, clock: Clock, **other: str) -> AccessTokens:
    """As the token server wants them."""
    fields = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
    return AccessTokens(http, USER, token_url="https://tokens.test/token", clock=clock, **(fields | other))


def mailbox_of(dovecot: Dovecot, trusting: ssl.SSLContext, tokens: AccessTokens) -> ImapMailbox:
    server = ImapServer("localhost", dovecot.imaps_port, trusting, tokens)
    return ImapMailbox(server, max_bytes=1_000, timing=Timing(answer=10.0))


async def test_a_token_opens_the_mailbox_and_the_outlet(
    dovecot: Dovecot, postfix: Postfix, trusting: ssl.SSLContext, tokens: AccessTokens, server: TokenServer
) -> None:
    mailbox = mailbox_of(dovecot, trusting, tokens)
    assert await mailbox.ping() > 0
    await mailbox.close()
    smtp = SmtpServer("localhost", postfix.tls_port, Security.TLS, trusting, tokens, "example.test")
    outlet = SmtpOutlet(smtp)
    mail = outgoing(somebody())
    await outlet.send(mail)
    await outlet.close()
    await arrived(dovecot, mail.recipient, 1)
    assert server.asked == 1


async def test_a_token_that_the_mail_server_refuses_is_not_used_again(
    dovecot: Dovecot, trusting: ssl.SSLContext, tokens: AccessTokens, server: TokenServer
) -> None:
    server.wrong_tokens = 1
    mailbox = mailbox_of(dovecot, trusting, tokens)
    with pytest.raises(SignInRefused):
        await mailbox.ping()
    assert await mailbox.ping() > 0
    await mailbox.close()


async def test_a_refresh_token_that_was_revoked_counts_as_a_refused_sign_in(
    postfix: Postfix, trusting: ssl.SSLContext, server: TokenServer, clock: Clock
) -> None:
    async with httpx.AsyncClient(transport=server.transport) as http:
        tokens = access(http, clock, refresh_token="revoked")
        smtp = SmtpServer("localhost", postfix.tls_port, Security.TLS, trusting, tokens, "example.test")
        assert await SmtpOutlet(smtp).look() is Access.REFUSED


async def test_so_does_the_outlet(
    postfix: Postfix, trusting: ssl.SSLContext, tokens: AccessTokens, server: TokenServer
) -> None:
    server.wrong_tokens = 1
    smtp = SmtpServer("localhost", postfix.tls_port, Security.TLS, trusting, tokens, "example.test")
    outlet = SmtpOutlet(smtp)
    with pytest.raises(NotSent):
        await outlet.ping()
    assert await outlet.ping() > 0
    await outlet.close()


async def test_a_token_is_used_until_shortly_before_its_end(
    tokens: AccessTokens, server: TokenServer, clock: Clock
) -> None:
    first = await tokens.token()
    clock.now += LIFE_SECONDS - 61
    assert await tokens.token() == first
    clock.now += 2
    assert await tokens.token() != first
    assert server.asked == 2


async def test_a_refresh_token_that_is_given_out_anew_is_used(
    tokens: AccessTokens, server: TokenServer, clock: Clock
) -> None:
    server.rotating = True
    for _ in range(3):
        await tokens.token()
        clock.now += LIFE_SECONDS
    assert server.asked == 3


@pytest.mark.parametrize(
    "wrong", [{"client_secret": "wrong"}, {"client_id": "wrong"}, {"refresh_token": "revoked"}]
)
async def test_what_only_a_person_can_mend_is_told_apart(
    dovecot: Dovecot, trusting: ssl.SSLContext, server: TokenServer, clock: Clock, wrong: dict[str, str]
) -> None:
    async with httpx.AsyncClient(transport=server.transport) as http:
        tokens = access(http, clock, **wrong)
        with pytest.raises(NoToken) as caught:
            await tokens.token()
        assert caught.value.refused
        with pytest.raises(SignInRefused):
            await mailbox_of(dovecot, trusting, tokens).ping()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, content=b"<html>Maintenance</html>"),
        httpx.Response(200, json={"token_type": "Bearer"}),
        httpx.Response(200, json={"access_token": ""}),
        httpx.Response(200, json={"access_token": "a\r\nb"}),
        httpx.Response(200, content=b'{"access_token": "' + b"x" * 200_000 + b'"}'),
    ],
    ids=["503", "html", "none", "empty", "injected", "endless"],
)
async def test_a_token_server_on_a_bad_day_is_asked_again_later(
    dovecot: Dovecot,
    trusting: ssl.SSLContext,
    tokens: AccessTokens,
    server: TokenServer,
    answer: httpx.Response,
) -> None:
    server.broken = answer
    mailbox = mailbox_of(dovecot, trusting, tokens)
    with pytest.raises(MailboxUnavailable):
        await mailbox.ping()
    server.broken = None
    assert await mailbox.ping() > 0
    await mailbox.close()
