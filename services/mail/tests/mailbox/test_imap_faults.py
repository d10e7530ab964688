"""A real Dovecot behind a bad network, and on bad days of its own: each mail is handed over once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest

from certificates import Certificates
from fault_proxy import CONNECT, Act, Fault, ImapProxy, Script
from mail_servers import PASSWORD, Dovecot, somebody
from mail_service.mailbox import fetching
from mail_service.mailbox.answers import Listed
from mail_service.mailbox.imap import ImapMailbox, Timing
from mail_service.mailbox.port import (
    Box,
    MailboxError,
    MailboxRefused,
    MailboxUnavailable,
    SignInRefused,
    Unread,
)
from mail_service.mailbox.wire import Connection, ImapServer
from mail_service.signing_in import Password
from receiving import PATIENCE, Desk, mail, watched

QUICK = Timing(answer=0.5, idle=60.0, check=0.05, first_pause=0.01, longest_pause=0.05, refused_pause=0.1)
MakeMailbox = Callable[..., ImapMailbox]


@pytest.fixture
async def proxy(dovecot: Dovecot, certificates: Certificates) -> AsyncIterator[ImapProxy]:
    """Before Dovecot, and the TLS server in its place."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.key)
    async with ImapProxy(dovecot.port, tls=context) as proxy:
        yield proxy


@pytest.fixture
def make_mailbox(proxy: ImapProxy, trusting: ssl.SSLContext) -> MakeMailbox:
    """A mailbox of somebody, through the proxy."""

    def make(address: str, timing: Timing = QUICK) -> ImapMailbox:
        server = ImapServer("localhost", proxy.port, trusting, Password(address, PASSWORD))
        return ImapMailbox(server, max_bytes=1_000_000, timing=timing)

    return make


@pytest.mark.parametrize(
    "fault",
    [
        Fault(CONNECT, Act.RESET),
        Fault(CONNECT, Act.SILENCE),
        Fault("LOGIN", Act.RESET),
        Fault("LOGIN", Act.SILENCE),
        Fault("LOGIN", Act.REPLY, "NO [UNAVAILABLE] Try later"),
        Fault("LOGIN", Act.REPLY_AND_CLOSE, "* BYE Too many connections"),
        Fault("LOGIN", Act.REPLY, "NO [AUTHENTICATIONFAILED] Just now"),
        Fault("SELECT", Act.RESET),
        Fault("SELECT", Act.REPLY, "NO [SERVERBUG] Internal error"),
        Fault("SELECT", Act.REPLY, "BAD What"),
        Fault("SEARCH", Act.SILENCE),
        Fault("SEARCH", Act.LOSE_REPLY),
        Fault("FETCH", Act.RESET),
        Fault("FETCH", Act.REPLY, "NO [INUSE] Later"),
        Fault("FETCH", Act.LOSE_REPLY, skip=1),
        Fault("FETCH", Act.CUT_INSIDE, skip=1),
        Fault("FETCH", Act.SILENCE, skip=1),
        Fault("STORE", Act.RESET),
        Fault("STORE", Act.LOSE_REPLY),
        Fault("IDLE", Act.RESET),
        Fault("IDLE", Act.SILENCE),
        Fault("IDLE", Act.REPLY, "* BYE Going down"),
        Fault("IDLE", Act.REPLY_AND_CLOSE, "* BYE Going down"),
        Fault("IDLE", Act.REPLY, "NO Not now"),
    ],
    ids=lambda fault: f"{fault.at}-{fault.act.name}-{fault.reply[:20]}",
)
async def test_after_a_fault_everything_comes_once(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox, fault: Fault
) -> None:
    address, desk = somebody(), Desk()
    await asyncio.to_thread(dovecot.deliver, address, mail("one"), mail("two"))
    proxy.plan(fault)
    waiting = asyncio.Event()
    proxy.on_command = lambda command: waiting.set() if command == "IDLE" else None
    async with watched(make_mailbox(address), desk):
        await desk.has(2)
        if fault.at == "IDLE":
            await asyncio.wait_for(waiting.wait(), PATIENCE)
        await asyncio.to_thread(dovecot.deliver, address, mail("three"))
        await desk.has(3)
    assert desk.subjects == ["one", "two", "three"]
    assert desk.handed_over == 3
    assert proxy.hit == [fault]
    assert proxy.connections > 1


async def test_a_server_that_falls_silent_in_idle_is_left_after_a_cycle(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    proxy.plan(Fault("DONE", Act.SILENCE))
    timing = Timing(answer=0.2, idle=0.2, first_pause=0.01, longest_pause=0.05)
    async with watched(make_mailbox(address, timing), desk):
        while not proxy.hit:  # noqa: ASYNC110 - nothing tells of it but the proxy
            await asyncio.sleep(0.01)
        await asyncio.to_thread(dovecot.deliver, address, mail("one"))
        await desk.has(1)
    assert proxy.connections == 2


async def test_idle_is_begun_anew_in_time_on_the_same_connection(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    proxy.plan(Fault("IDLE", Act.RESET, skip=3))
    async with watched(make_mailbox(address, Timing(idle=0.05, first_pause=0.01)), desk):
        while not proxy.hit:  # noqa: ASYNC110 - nothing tells of it but the proxy
            await asyncio.sleep(0.01)
        assert proxy.connections == 1
        await asyncio.to_thread(dovecot.deliver, address, mail("one"))
        await desk.has(1)


async def test_where_idle_is_missing_the_folder_is_looked_at_now_and_then(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    without = "* CAPABILITY IMAP4rev1 UIDPLUS\r\n"
    proxy.script_of = lambda number: Script(
        tuple(Fault("CAPABILITY", Act.REPLY, f"{without}{{tag}} OK done", skip=skip) for skip in range(2))
    )
    async with watched(make_mailbox(address), desk):
        for number in range(3):
            await asyncio.to_thread(dovecot.deliver, address, mail(f"m{number}"))
            await desk.has(number + 1)
    assert proxy.connections == 1
    assert [fault.at for fault in proxy.hit] == ["CAPABILITY", "CAPABILITY"]


async def test_a_mail_that_cannot_be_had_keeps_nobody_else_waiting_for_ever(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    await asyncio.to_thread(dovecot.deliver, address, mail("broken"), mail("fine"))
    # The first FETCH lists; the second asks for the first mail.
    broken = Fault("FETCH", Act.REPLY, "NO [SERVERBUG] Cannot read it", skip=1)
    # At last, the second mail is asked for in between.
    proxy.plan(*[broken] * fetching.TRIES, replace(broken, skip=2))
    async with watched(make_mailbox(address), desk):
        await desk.has(2)
    head, fine = desk.taken
    assert head.unread is Unread.UNREADABLE
    assert b"Subject: broken" in head.content
    assert b"Hello" not in head.content
    assert fine.unread is None


async def test_a_server_that_hands_over_nothing_for_long_is_waited_for(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    await asyncio.to_thread(dovecot.deliver, address, mail("one"), mail("two"))
    busy = Fault("FETCH", Act.REPLY, "NO [SERVERBUG] The disk is gone", skip=1)
    proxy.plan(*[busy] * (2 * fetching.TRIES))
    async with watched(make_mailbox(address), desk):
        await desk.has(2)
    assert [arrival.unread for arrival in desk.taken] == [None, None]


@pytest.mark.parametrize("how", [MailboxRefused, MailboxUnavailable])
async def test_a_mail_of_which_the_server_cannot_speak_keeps_nobody_else_waiting(
    dovecot: Dovecot, make_mailbox: MakeMailbox, monkeypatch: pytest.MonkeyPatch, how: type[MailboxError]
) -> None:
    address, desk, listed = somebody(), Desk(), Connection.listed
    await asyncio.to_thread(dovecot.deliver, address, mail("one"), mail("broken"), mail("three"))

    async def cannot_speak_of_two(connection: Connection, uids: Sequence[int]) -> list[Listed]:
        if 2 in uids:
            raise how("it cannot be listed")
        return await listed(connection, uids)

    # The proxy cannot tell one listing from another.
    monkeypatch.setattr(Connection, "listed", cannot_speak_of_two)
    async with watched(make_mailbox(address), desk):
        await desk.has(3)
    assert desk.subjects == ["one", "broken", "three"]


async def test_a_slow_server_is_heard_to_the_end(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    await asyncio.to_thread(dovecot.deliver, address, mail("one"))
    proxy.plan(Script(seconds_per_byte=0.0001))
    async with watched(make_mailbox(address, Timing(answer=20.0)), desk):
        await desk.has(1)
    assert proxy.connections == 1


async def test_a_server_that_is_too_slow_is_left(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    await asyncio.to_thread(dovecot.deliver, address, mail("one"))
    proxy.plan(Script(seconds_per_byte=1.0))
    async with watched(make_mailbox(address), desk):
        await desk.has(1)
    assert proxy.connections == 2


@pytest.mark.parametrize("act", [Act.RESET, Act.LOSE_REPLY, Act.CUT_INSIDE])
async def test_a_copy_is_there_once_however_its_keeping_is_cut_off(
    dovecot: Dovecot, proxy: ImapProxy, make_mailbox: MakeMailbox, act: Act
) -> None:
    address = somebody()
    mailbox = make_mailbox(address)
    proxy.plan(Fault("APPEND", act))
    with pytest.raises(MailboxUnavailable):
        await mailbox.keep(Box.SENT, mail("answer"))
    await mailbox.keep(Box.SENT, mail("answer"))
    await mailbox.close()
    assert await asyncio.to_thread(dovecot.mails, address, '"Messages sent"') == [mail("answer")]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("NOOP", Act.SILENCE), MailboxUnavailable),
        (Fault("LOGIN", Act.REPLY, "NO [AUTHENTICATIONFAILED] No"), SignInRefused),
        (Fault("NOOP", Act.REPLY, "BAD No"), MailboxRefused),
    ],
)
async def test_how_it_failed_is_told(
    proxy: ImapProxy, make_mailbox: MakeMailbox, fault: Fault, expected: type[Exception]
) -> None:
    mailbox = make_mailbox(somebody())
    proxy.plan(fault)
    with pytest.raises(expected):
        await mailbox.ping()
    # For so long it is not asked again where it did not let us in.
    await asyncio.sleep(QUICK.refused_pause)
    assert await mailbox.ping() > 0
    await mailbox.close()


async def test_a_server_that_does_not_take_our_password_is_not_asked_again_and_again(
    proxy: ImapProxy, make_mailbox: MakeMailbox
) -> None:
    mailbox = make_mailbox(somebody(), Timing(answer=0.5, refused_pause=600.0))
    proxy.plan(Fault("LOGIN", Act.REPLY, "NO [AUTHENTICATIONFAILED] No"))
    for _ in range(3):
        with pytest.raises(SignInRefused):
            await mailbox.ping()
    with pytest.raises(SignInRefused):
        await mailbox.keep(Box.SENT, mail("answer"))
    assert proxy.connections == 1
    await mailbox.close()
