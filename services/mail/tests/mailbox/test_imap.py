"""A folder on a real Dovecot is watched: each mail is handed over once, whatever happens to the folder."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest

from mail_servers import PASSWORD, Dovecot, somebody
from mail_service.mailbox.imap import ImapMailbox, Timing
from mail_service.mailbox.port import (
    Box,
    Cursor,
    MailboxUnavailable,
    Mark,
    SignInRefused,
    Unread,
)
from mail_service.mailbox.wire import ImapServer
from mail_service.signing_in import Password
from receiving import Desk, mail, watched

QUICK = Timing(answer=10.0, idle=60.0, check=0.05, first_pause=0.02, longest_pause=0.2, refused_pause=0.1)
MAX_BYTES = 200_000

MakeMailbox = Callable[..., ImapMailbox]


@pytest.fixture
def make_mailbox(dovecot: Dovecot, trusting: ssl.SSLContext) -> MakeMailbox:
    """A mailbox of somebody, over TLS."""

    def make(
        address: str, folder: str = "INBOX", *, password: str = PASSWORD, timing: Timing = QUICK
    ) -> ImapMailbox:
        server = ImapServer("localhost", dovecot.imaps_port, trusting, Password(address, password))
        return ImapMailbox(server, folder, max_bytes=MAX_BYTES, timing=timing)

    return make


async def test_what_lies_there_and_what_comes_is_handed_over_in_order(
    dovecot: Dovecot, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, mail("one"), mail("two"))
    mailbox = make_mailbox(address)
    async with watched(mailbox, desk):
        await desk.has(2)
        assert mailbox.watching
        await asyncio.to_thread(dovecot.deliver, address, mail("three"))
        await desk.has(3)
    assert desk.subjects == ["one", "two", "three"]
    assert desk.taken[0].content.endswith(b"\r\n\r\nHello\r\n")
    assert desk.taken[0].size == len(desk.taken[0].content)
    assert not mailbox.watching


async def test_what_is_stored_is_marked_and_not_read(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, mail("one"))
    async with watched(make_mailbox(address), desk):
        await desk.has(1)
        await asyncio.to_thread(dovecot.deliver, address, mail("two"))
        await desk.has(2)
    assert dovecot.flags(address)[0] == {"$NeoDone"}


async def test_a_new_start_goes_on_after_the_cursor(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, mail("one"))
    async with watched(make_mailbox(address), desk):
        await desk.has(1)
    with dovecot.open(address) as client:
        client.store("1", "-FLAGS", "($NeoDone)")
    dovecot.deliver(address, mail("two"))
    async with watched(make_mailbox(address), desk):
        await desk.has(2)
    assert desk.handed_over == 2


async def test_an_empty_search_hands_over_nothing_twice(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    # `UID SEARCH UID n:*` always names the last mail; without marks, only the cursor keeps it away.
    address, desk = somebody(), Desk()
    dovecot.deliver(address, mail("one"))
    with dovecot.open(address) as client:
        client.store("1", "+FLAGS", "(\\Seen)")
    async with watched(make_mailbox(address), desk):
        await desk.has(1)
    with dovecot.open(address) as client:
        client.store("1", "-FLAGS", "($NeoDone)")
    async with watched(make_mailbox(address), desk):
        await asyncio.to_thread(dovecot.deliver, address, mail("two"))
        await desk.has(2)
    assert desk.handed_over == 2


async def test_a_folder_numbered_anew_brings_only_what_was_not_stored(
    dovecot: Dovecot, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, mail("one"), mail("two"))
    async with watched(make_mailbox(address), desk):
        await desk.has(2)
        (before,) = desk.cursors.values()
        await asyncio.to_thread(dovecot.number_anew, address)
        await asyncio.to_thread(dovecot.deliver, address, mail("three"))
        await desk.has(3)
    (after,) = desk.cursors.values()
    assert after.uid_validity != before.uid_validity
    assert desk.subjects == ["one", "two", "three"]


async def test_what_is_marked_is_passed_over_and_the_rest_is_known_by_the_receiver(
    dovecot: Dovecot, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, *(mail(f"m{number}") for number in range(4)))
    async with watched(make_mailbox(address), desk):
        await desk.has(4)
    with dovecot.open(address) as client:
        client.store("2", "-FLAGS", "($NeoDone)")
    dovecot.number_anew(address)
    dovecot.deliver(address, mail("last"))
    async with watched(make_mailbox(address), desk):
        await desk.has(5)
    # The one without a mark came again, and was known.
    assert desk.handed_over == 6
    assert len(desk.taken) == 5


async def test_thousands_are_walked_through_in_pages(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    address, desk = somebody(), Desk()
    dovecot.put(address, [mail(f"m{number}") for number in range(1_000)])
    async with watched(make_mailbox(address), desk):
        await desk.has(1_000)
    assert desk.subjects == [f"m{number}" for number in range(1_000)]


async def test_of_a_large_mail_only_the_head_is_fetched(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, mail("large", "x\r\n" * MAX_BYTES), mail("small"))
    async with watched(make_mailbox(address), desk):
        await desk.has(2)
    large, small = desk.taken
    assert large.unread is Unread.TOO_LARGE
    assert large.size > MAX_BYTES
    assert b"Message-ID: <large@elsewhere.test>" in large.content
    assert b"x\r\nx" not in large.content
    assert small.unread is None


async def test_mails_that_vanish_are_passed_over(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, *(mail(f"m{number}") for number in range(6)))
    with dovecot.open(address) as client:
        client.store("2:5", "+FLAGS", "(\\Deleted)")
        client.expunge()
    async with watched(make_mailbox(address), desk):
        await desk.has(2)
    assert desk.subjects == ["m0", "m5"]


async def test_a_receiver_that_cannot_store_gets_the_mail_again(
    dovecot: Dovecot, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    desk.refusing = True
    dovecot.deliver(address, mail("one"))
    async with watched(make_mailbox(address), desk):
        await asyncio.sleep(0.2)
        assert dovecot.flags(address) == [set()]
        desk.refusing = False
        await desk.has(1)


@pytest.mark.parametrize("pull", ["stop", "kill"])
async def test_a_server_that_went_away_is_found_again(
    dovecot: Dovecot, make_mailbox: MakeMailbox, pull: str
) -> None:
    address, desk = somebody(), Desk()
    async with watched(make_mailbox(address), desk):
        await asyncio.to_thread(dovecot.deliver, address, mail("one"))
        await desk.has(1)
        await asyncio.to_thread(getattr(dovecot, pull))
        await asyncio.to_thread(dovecot.start)
        await asyncio.to_thread(dovecot.deliver, address, mail("two"))
        await desk.has(2)
    assert desk.handed_over == 2


async def test_a_wrong_password_is_said_and_tried_again(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    mailbox = make_mailbox(somebody(), password="wrong")
    with pytest.raises(SignInRefused):
        await mailbox.ping()
    async with watched(mailbox, Desk()):
        await asyncio.sleep(0.3)
        assert not mailbox.watching


async def test_a_certificate_that_nobody_vouches_for_is_refused(dovecot: Dovecot) -> None:
    signing_in = Password(somebody(), PASSWORD)
    server = ImapServer("localhost", dovecot.imaps_port, ssl.create_default_context(), signing_in)
    with pytest.raises(MailboxUnavailable):
        await ImapMailbox(server, max_bytes=MAX_BYTES, timing=QUICK).ping()


async def test_copies_are_put_into_the_folders_of_the_account_once(
    dovecot: Dovecot, make_mailbox: MakeMailbox
) -> None:
    address = somebody()
    mailbox = make_mailbox(address)
    for _ in range(2):
        await mailbox.keep(Box.SENT, mail("answer"))
        await mailbox.keep(Box.DRAFTS, mail("draft"))
    await mailbox.close()
    assert dovecot.mails(address, '"Messages sent"') == [mail("answer")]
    assert dovecot.mails(address, "Drafts") == [mail("draft")]
    assert dovecot.flags(address, '"Messages sent"') == [{"\\Seen"}]
    assert "\\Draft" in dovecot.flags(address, "Drafts")[0]


async def test_a_mail_is_marked_as_answered_unless_its_number_means_another(
    dovecot: Dovecot, make_mailbox: MakeMailbox
) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, mail("one"))
    mailbox = make_mailbox(address)
    async with watched(mailbox, desk):
        await desk.has(1)
        cursor = desk.taken[0].cursor
        await mailbox.mark(Cursor(cursor.uid_validity + 1, cursor.uid), Mark.ANSWERED)
        assert "\\Answered" not in dovecot.flags(address)[0]
        await mailbox.mark(cursor, Mark.ANSWERED)
        assert "\\Answered" in dovecot.flags(address)[0]
        await mailbox.mark(Cursor(cursor.uid_validity, 999), Mark.ANSWERED)


async def test_a_connection_that_died_while_nothing_was_to_do_is_made_anew(
    dovecot: Dovecot, make_mailbox: MakeMailbox
) -> None:
    mailbox = make_mailbox(somebody())
    assert await mailbox.ping() > 0
    await asyncio.to_thread(dovecot.kill)
    with pytest.raises(MailboxUnavailable):
        await mailbox.ping()
    await asyncio.to_thread(dovecot.start)
    await mailbox.ping()
    await asyncio.to_thread(dovecot.kill)
    await asyncio.to_thread(dovecot.start)
    await mailbox.ping()
    await mailbox.close()


async def test_folders_other_than_the_inbox_are_watched(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    address, desk = somebody(), Desk()
    with dovecot.open(address) as client:
        client.create('"Droit du travail"')
        client.append('"Droit du travail"', "", None, mail("moved"))
    async with watched(make_mailbox(address, "Droit du travail"), desk):
        await desk.has(1)
    assert desk.subjects == ["moved"]


async def test_a_mail_is_fetched_once_more_where_it_lay(dovecot: Dovecot, make_mailbox: MakeMailbox) -> None:
    address, desk = somebody(), Desk()
    dovecot.deliver(address, mail("one"), mail("large", "x\r\n" * MAX_BYTES))
    mailbox = make_mailbox(address)
    async with watched(mailbox, desk):
        await desk.has(2)
        one, large = desk.taken
        assert await mailbox.fetch(one.cursor) == one.content
        assert await mailbox.fetch(large.cursor) is None
        assert await mailbox.fetch(Cursor(one.cursor.uid_validity, 99)) is None
        assert await mailbox.fetch(Cursor(one.cursor.uid_validity + 1, one.cursor.uid)) is None
