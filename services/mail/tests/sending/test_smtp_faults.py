"""A real Postfix behind a bad network, and on bad days: what became of a mail is said as it is."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest

from certificates import Certificates
from fault_proxy import CONNECT, END, Act, Fault, Script, SmtpProxy
from mail_servers import Dovecot, Postfix, somebody
from mail_service.sending.port import NotSent, OutletError, Refused, Unknown
from mail_service.sending.session import Security, SmtpServer, Timing
from mail_service.sending.smtp import SmtpOutlet
from sent_mails import arrived, outgoing

QUICK = Timing(answer=0.5, verdict=0.5)
COMMANDS = ("EHLO", "MAIL", "RCPT", "DATA", END)
OF_THE_MAIL = ("MAIL", "RCPT", "DATA", END)
"""Where a refusal says something of the mail."""


@pytest.fixture
async def proxy(postfix: Postfix, certificates: Certificates) -> AsyncIterator[SmtpProxy]:
    """Before Postfix, with STARTTLS of its own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.key)
    async with SmtpProxy(postfix.port, starttls=context) as proxy:
        yield proxy


@pytest.fixture
async def outlet(proxy: SmtpProxy, trusting: ssl.SSLContext) -> AsyncIterator[SmtpOutlet]:
    """Through the proxy, with short patience."""
    server = SmtpServer("localhost", proxy.port, Security.STARTTLS, trusting, None, "example.test")
    outlet = SmtpOutlet(server, timing=QUICK, sessions=1)
    yield outlet
    await outlet.close()


def expected(fault: Fault) -> type[OutletError]:
    """What is to be said of a mail after this fault."""
    # Of a small mail, all has left when the connection breaks inside.
    if fault.at == END and fault.act in {Act.LOSE_REPLY, Act.SILENCE, Act.RESET, Act.CUT_INSIDE}:
        return Unknown
    if fault.reply.startswith("5") and fault.at in OF_THE_MAIL and not fault.reply.startswith("530"):
        return Refused
    return NotSent


FAULTS = [
    *(Fault(at, Act.REPLY, f"{code} made up") for at in COMMANDS for code in ("451 4.3.0", "550 5.7.1")),
    *(Fault(at, Act.REPLY_AND_CLOSE, "421 4.3.2 going down") for at in COMMANDS),
    *(Fault(at, Act.RESET) for at in (CONNECT, *COMMANDS)),
    *(Fault(at, Act.LOSE_REPLY) for at in ("MAIL", "DATA", END)),
    *(Fault(at, Act.SILENCE) for at in ("MAIL", "DATA", END)),
    Fault(END, Act.CUT_INSIDE),
    Fault("MAIL", Act.REPLY, "530 5.7.0 Authentication required"),
    Fault("MAIL", Act.REPLY, "nonsense"),
    Fault(END, Act.REPLY, "551 5.7.1 no"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.at}-{fault.act.name}-{fault.reply[:3]}")
async def test_what_became_of_a_mail_is_said_as_it_is(
    dovecot: Dovecot, proxy: SmtpProxy, outlet: SmtpOutlet, fault: Fault
) -> None:
    mail = outgoing(somebody())
    proxy.plan(fault)
    with pytest.raises(OutletError) as caught:
        await outlet.send(mail)
    assert type(caught.value) is expected(fault)
    if fault.at in OF_THE_MAIL:
        assert caught.value.code == (int(fault.reply[:3]) if fault.reply[:3].isdigit() else None)
    assert proxy.hit == [fault]
    # Unknown is never said where the server has said yes or no, nor anything else where it could have yes.
    assert proxy.cuts <= (type(caught.value) is Unknown)
    assert sum(proxy.taken.values()) == proxy.cuts
    # The next try goes well, however the first ended.
    await outlet.send(mail)
    await arrived(dovecot, mail.recipient, 1 + proxy.cuts)


async def test_an_answer_that_nobody_can_read_after_the_dot_leaves_it_open(
    proxy: SmtpProxy, outlet: SmtpOutlet
) -> None:
    proxy.plan(Fault(END, Act.REPLY, "hello?"))
    with pytest.raises(Unknown):
        await outlet.send(outgoing(somebody()))


async def test_a_mail_of_which_the_end_never_left_is_not_sent(proxy: SmtpProxy, outlet: SmtpOutlet) -> None:
    proxy.plan(Fault(END, Act.CUT_INSIDE))
    with pytest.raises(NotSent):
        await outlet.send(outgoing(somebody(), "x" * 70 + "\r\n", times=250_000))


async def test_a_slow_server_is_heard_to_the_end(
    dovecot: Dovecot, proxy: SmtpProxy, trusting: ssl.SSLContext
) -> None:
    server = SmtpServer("localhost", proxy.port, Security.STARTTLS, trusting, None, "example.test")
    outlet = SmtpOutlet(server, timing=Timing(answer=20.0))
    mail = outgoing(somebody())
    proxy.plan(Script(seconds_per_byte=0.0001))
    await outlet.send(mail)
    await outlet.close()
    await arrived(dovecot, mail.recipient, 1)


async def test_one_byte_per_second_is_too_slow(proxy: SmtpProxy, outlet: SmtpOutlet) -> None:
    proxy.plan(Script(seconds_per_byte=1.0))
    with pytest.raises(NotSent):
        await outlet.send(outgoing(somebody()))
