"""The mail servers of the tests keep what they promise."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
import time

import pytest

from mail_servers import PASSWORD, Dovecot, Postfix, nobody, somebody
from servers import HOST, PATIENCE

MAIL = b"From: a@elsewhere.test\r\nSubject: %d\r\nMessage-ID: <%d@elsewhere.test>\r\n\r\nHello\r\n"


def test_everybody_has_an_empty_inbox_and_the_usual_folders(dovecot: Dovecot) -> None:
    address = somebody()
    assert dovecot.mails(address) == []
    with dovecot.open(address) as client:
        _, folders = client.list()
    assert any(b"\\Sent" in line for line in folders if isinstance(line, bytes))
    assert any(b"\\Drafts" in line for line in folders if isinstance(line, bytes))


def test_mail_that_postfix_takes_lies_in_the_inbox(dovecot: Dovecot, postfix: Postfix) -> None:
    address = somebody()
    with smtplib.SMTP(HOST, postfix.port, timeout=PATIENCE) as smtp:
        smtp.sendmail("a@elsewhere.test", [address], MAIL % (1, 1))
    deadline = time.monotonic() + PATIENCE
    while not (found := dovecot.mails(address)):
        assert time.monotonic() < deadline, (postfix.folder / "maillog").read_text()
        time.sleep(0.02)
    assert b"Subject: 1\r\n" in found[0]


def test_postfix_does_not_know_nobody(postfix: Postfix) -> None:
    with smtplib.SMTP(HOST, postfix.port, timeout=PATIENCE) as smtp:
        smtp.helo()
        smtp.mail("a@elsewhere.test")
        assert smtp.rcpt(nobody())[0] == 550
        assert smtp.rcpt("somebody@far-away.test")[0] == 550
        assert smtp.rcpt(somebody())[0] == 250


@pytest.mark.parametrize("implicit", [False, True])
def test_submission_wants_tls_and_a_password(
    postfix: Postfix, trusting: ssl.SSLContext, implicit: bool
) -> None:
    smtp: smtplib.SMTP
    if implicit:
        smtp = smtplib.SMTP_SSL("localhost", postfix.tls_port, timeout=PATIENCE, context=trusting)
    else:
        smtp = smtplib.SMTP("localhost", postfix.starttls_port, timeout=PATIENCE)
        smtp.ehlo()
        assert smtp.mail("a@example.test")[0] == 530
        smtp.starttls(context=trusting)
    with smtp:
        smtp.ehlo()
        smtp.mail("a@example.test")
        assert smtp.rcpt(somebody())[0] == 554
        smtp.rset()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login("service@example.test", "wrong")
        smtp.login("service@example.test", PASSWORD)
        smtp.mail("service@example.test")
        assert smtp.rcpt(somebody())[0] == 250


def test_imap_over_tls_with_a_certificate_of_the_tests(dovecot: Dovecot, trusting: ssl.SSLContext) -> None:
    with imaplib.IMAP4_SSL("localhost", dovecot.imaps_port, ssl_context=trusting, timeout=PATIENCE) as client:
        with pytest.raises(imaplib.IMAP4.error):
            client.login(somebody(), "wrong")
        client.login(somebody(), PASSWORD)


def test_a_folder_can_be_numbered_anew_and_keeps_its_marks(dovecot: Dovecot) -> None:
    address = somebody()
    dovecot.deliver(address, MAIL % (1, 1), MAIL % (2, 2))
    with dovecot.open(address) as client:
        client.store("1", "+FLAGS", "($NeoDone)")
        _, (before, *_) = client.response("UIDVALIDITY")
    dovecot.number_anew(address)
    with dovecot.open(address) as client:
        _, (after, *_) = client.response("UIDVALIDITY")
        _, (uids, *_) = client.uid("SEARCH", "ALL")
    assert after != before
    assert len(uids.split()) == 2
    assert ["$NeoDone" in flags for flags in dovecot.flags(address)] == [True, False]


def test_thousands_of_mails_are_there_at_once(dovecot: Dovecot) -> None:
    address = somebody()
    dovecot.put(address, [MAIL % (number, number) for number in range(2_000)])
    with dovecot.open(address) as client:
        _, (uids, *_) = client.uid("SEARCH", "ALL")
        _, answer = client.fetch("2000", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert len(uids.split()) == 2_000
    assert isinstance(answer[0], tuple)
    assert answer[0][1].strip() == b"Subject: 1999"


@pytest.mark.parametrize("pull", ["stop", "kill"])
def test_servers_come_back_with_what_they_had(dovecot: Dovecot, postfix: Postfix, pull: str) -> None:
    address = somebody()
    dovecot.deliver(address, MAIL % (1, 1))
    getattr(dovecot, pull)()
    getattr(postfix, pull)()
    assert not dovecot.ready()
    dovecot.start()
    postfix.start()
    assert len(dovecot.mails(address)) == 1
