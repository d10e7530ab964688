"""Mails go out through a real Postfix, with TLS and a password, and arrive as they were."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from mail_servers import PASSWORD, Dovecot, Postfix, nobody, somebody
from mail_service.sending.port import Access, NotSent, OutgoingMail, Refused
from mail_service.sending.session import Security, SmtpServer
from mail_service.sending.smtp import SmtpOutlet
from mail_service.signing_in import Password
from sent_mails import arrived, outgoing
from servers import HOST

SENDER = "service@example.test"


def server(
    postfix: Postfix, tls: ssl.SSLContext | None, security: Security, password: str = PASSWORD
) -> SmtpServer:
    """Postfix, behind one of its three doors."""
    ports = {
        Security.NONE: postfix.port,
        Security.STARTTLS: postfix.starttls_port,
        Security.TLS: postfix.tls_port,
    }
    host = HOST if security is Security.NONE else "localhost"
    return SmtpServer(host, ports[security], security, tls, Password(SENDER, password), "example.test")


@pytest.mark.parametrize("security", list(Security))
async def test_a_mail_arrives_byte_for_byte(
    dovecot: Dovecot, postfix: Postfix, trusting: ssl.SSLContext, security: Security
) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, security))
    mail = outgoing(somebody(), "Bonjour.\r\n.\r\n..dots\r\n.. and dots\r\nend")
    await outlet.send(mail)
    await outlet.close()
    (content,) = await arrived(dovecot, mail.recipient, 1)
    assert content.endswith(mail.content + b"\r\n")


@pytest.mark.parametrize("security", list(Security))
async def test_a_long_mail_arrives_whole(
    dovecot: Dovecot, postfix: Postfix, trusting: ssl.SSLContext, security: Security
) -> None:
    """It goes out in many pieces, over TLS as well."""
    outlet = SmtpOutlet(server(postfix, trusting, security))
    mail = outgoing(somebody(), "x" * 70 + "\r\n", times=15_000)
    await outlet.send(mail)
    await outlet.close()
    (content,) = await arrived(dovecot, mail.recipient, 1)
    assert content.endswith(mail.content)


async def test_one_session_serves_many_mails(
    dovecot: Dovecot, postfix: Postfix, trusting: ssl.SSLContext
) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.TLS), sessions=1)
    recipient = somebody()
    before = connections(postfix)
    for number in range(5):
        await outlet.send(outgoing(recipient, f"number {number}"))
    with pytest.raises(Refused):
        await outlet.send(outgoing(nobody()))
    await outlet.send(outgoing(recipient, "after a refusal"))
    await outlet.close()
    assert len(await arrived(dovecot, recipient, 6)) == 6
    assert connections(postfix) == before + 1


def connections(postfix: Postfix) -> int:
    """How many there have been."""
    return (postfix.folder / "maillog").read_text().count(": connect from")


async def test_mails_go_out_side_by_side(
    dovecot: Dovecot, postfix: Postfix, trusting: ssl.SSLContext
) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.STARTTLS), sessions=3)
    recipients = [somebody() for _ in range(9)]
    await asyncio.gather(*(outlet.send(outgoing(recipient)) for recipient in recipients))
    await outlet.close()
    for recipient in recipients:
        await arrived(dovecot, recipient, 1)


async def test_who_is_not_known_is_refused_for_good(postfix: Postfix, trusting: ssl.SSLContext) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.TLS))
    with pytest.raises(Refused) as caught:
        await outlet.send(outgoing(nobody()))
    assert caught.value.code == 550
    await outlet.close()


async def test_a_wrong_password_is_no_fault_of_the_mail(postfix: Postfix, trusting: ssl.SSLContext) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.STARTTLS, password="wrong"))
    with pytest.raises(NotSent) as caught:
        await outlet.send(outgoing(somebody()))
    assert caught.value.code == 535
    with pytest.raises(NotSent):
        await outlet.ping()


async def test_whether_the_server_lets_us_in_is_known_without_a_mail(
    postfix: Postfix, trusting: ssl.SSLContext
) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.STARTTLS))
    wrong = SmtpOutlet(server(postfix, trusting, Security.TLS, password="wrong"))
    distrusting = SmtpOutlet(server(postfix, ssl.create_default_context(), Security.TLS))
    assert [outlet.access, wrong.access] == [None, None]
    assert await outlet.look() is outlet.access is Access.OK
    assert await wrong.look() is wrong.access is Access.REFUSED
    assert await distrusting.look() is distrusting.access is Access.UNREACHABLE
    await asyncio.to_thread(postfix.stop)
    for each in (outlet, wrong):
        assert await each.look() is each.access is Access.UNREACHABLE
    await asyncio.to_thread(postfix.start)
    assert await outlet.look() is outlet.access is Access.OK
    assert await wrong.look() is wrong.access is Access.REFUSED


async def test_a_look_leaves_nothing_behind_and_asks_for_the_password_each_time(
    postfix: Postfix, trusting: ssl.SSLContext
) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.TLS))
    before = connections(postfix)
    await outlet.ping()
    for _ in range(3):
        await outlet.look()
    await outlet.ping()
    await outlet.close()
    assert connections(postfix) == before + 4


async def test_a_mail_that_does_not_go_out_tells_so_as_well(
    postfix: Postfix, trusting: ssl.SSLContext
) -> None:
    wrong = SmtpOutlet(server(postfix, trusting, Security.TLS, password="wrong"))
    with pytest.raises(NotSent):
        await wrong.send(outgoing(somebody()))
    assert wrong.access is Access.REFUSED
    # One recipient says nothing of us.
    outlet = SmtpOutlet(server(postfix, trusting, Security.TLS))
    with pytest.raises(Refused):
        await outlet.send(outgoing(nobody()))
    assert outlet.access is Access.OK
    await outlet.close()


async def test_a_server_without_starttls_is_not_spoken_to(postfix: Postfix, trusting: ssl.SSLContext) -> None:
    plain = SmtpServer("localhost", postfix.port, Security.STARTTLS, trusting, None, "example.test")
    with pytest.raises(NotSent):
        await SmtpOutlet(plain).send(outgoing(somebody()))


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_a_certificate_that_nobody_vouches_for_is_refused(postfix: Postfix, security: Security) -> None:
    with pytest.raises(NotSent):
        await SmtpOutlet(server(postfix, ssl.create_default_context(), security)).send(outgoing(somebody()))


async def test_a_certificate_for_another_name_is_refused(postfix: Postfix, trusting: ssl.SSLContext) -> None:
    elsewhere = SmtpServer("ip6-localhost", postfix.tls_port, Security.TLS, trusting, None, "example.test")
    with pytest.raises(NotSent):
        await SmtpOutlet(elsewhere).ping()


@pytest.mark.parametrize("pull", ["stop", "kill"])
async def test_a_server_that_went_away_is_found_again(
    dovecot: Dovecot, postfix: Postfix, trusting: ssl.SSLContext, pull: str
) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.TLS))
    recipient = somebody()
    await outlet.send(outgoing(recipient, "one"))
    # Postfix itself delivers twice what it is delivering when it is killed.
    await arrived(dovecot, recipient, 1)
    await asyncio.to_thread(getattr(postfix, pull))
    with pytest.raises(NotSent):
        await outlet.send(outgoing(recipient, "two"))
    await asyncio.to_thread(postfix.start)
    await outlet.send(outgoing(recipient, "two"))
    await outlet.close()
    assert len(await arrived(dovecot, recipient, 2)) == 2


async def test_a_mail_that_is_too_large_for_the_server_is_refused_before_it_goes_out(
    postfix: Postfix, trusting: ssl.SSLContext
) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.TLS))
    with pytest.raises(Refused) as caught:
        await outlet.send(outgoing(somebody(), "x" * 70 + "\r\n", times=300_000))
    assert caught.value.code == 552
    await outlet.close()


async def test_how_long_the_server_takes_is_told(postfix: Postfix, trusting: ssl.SSLContext) -> None:
    outlet = SmtpOutlet(server(postfix, trusting, Security.TLS))
    first, second = await outlet.ping(), await outlet.ping()
    assert first > 0
    assert second > 0
    await outlet.close()


async def test_what_is_no_mail_of_ours_never_leaves() -> None:
    nowhere = SmtpServer(HOST, 1, Security.NONE, None, None, "example.test")
    with pytest.raises(Refused):
        await SmtpOutlet(nowhere).send(OutgoingMail(SENDER, "a@b.test>\r\nRCPT TO:<c@d.test", b""))
