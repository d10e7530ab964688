"""Whatever bytes come: a letter comes out, its parts are within bounds, and nothing in it breaks a line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import hostile
from mail_service.letters import Letter, Remark
from mail_service.reading import read
from mail_service.reading.body import LONGEST_TEXT, MOST_ATTACHMENTS
from mail_service.reading.headers import MOST_HEADERS

PIECES = (
    *(b"From: a@b.test\r\n", b"Subject: =?utf-8?q?", b"=C3=A9?=", b"\r\n\r\n", b"\n", b"\r", b"\0"),
    *(b"--x\r\n", b"--x--\r\n", b"Content-Type: multipart/alternative; boundary=x\r\n", b'boundary="x'),
    *(b"Content-Type: text/html\r\n", b"Content-Type: message/rfc822\r\n", b"<div style='", b"<!--"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"> ", b"On x wrote:\n", b"De : x\nDate: y\n", b"\xff\xfe"),
    *(b"Content-Type: text/plain; charset=", b"utf-16", b"gb2312", b"utf-7", b"+ADw-", b"\xc3", b"=\r\n"),
    *(b'"', b"<", b"(", b"&#x", b";*=''%"),
)
mails = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=40).map(b"".join)


@given(mails)
def test_any_bytes_are_a_letter(raw: bytes) -> None:
    check(read(raw), raw)


@pytest.mark.parametrize("make", [pytest.param(mail.raw, id=mail.name) for mail in hostile()])
def test_hostile_mails_are_letters(make: Callable[[], bytes]) -> None:
    raw = make()
    check(read(raw), raw)


def check(letter: Letter, raw: bytes) -> None:
    assert letter.digest == hashlib.sha256(raw).hexdigest()
    assert letter.size == len(raw)
    assert letter.message_id.startswith("<")
    assert letter.message_id.endswith(">")
    assert len(letter.text) + len(letter.signature) <= LONGEST_TEXT + 2
    assert len(letter.attachments) <= MOST_ATTACHMENTS
    assert len(letter.headers) <= MOST_HEADERS
    lines = [letter.subject, letter.message_id, *letter.in_reply_to, *letter.references]
    lines += [file.name for file in letter.attachments]
    for address in filter(None, (letter.sender, letter.reply_to, *letter.to, *letter.cc)):
        assert address.address.count("@") == 1
        lines += [address.name, address.address]
    for line in lines:
        assert all(character.isprintable() for character in line), line
    # It can be stored and sent.
    "\n".join([*lines, letter.text, letter.quoted, letter.signature]).encode()
    assert "\0" not in letter.text + letter.quoted


def test_what_is_cut_is_said_to_be() -> None:
    long = read(b"From: a@b.test\r\n\r\n" + b"ab" * LONGEST_TEXT)
    assert len(long.text) == LONGEST_TEXT
    assert Remark.CUT in long.remarks
    many = b"--x\r\nContent-Type: image/png\r\n\r\nx\r\n" * 5_000
    files = read(b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" + many)
    assert len(files.attachments) == MOST_ATTACHMENTS
    assert Remark.CUT in files.remarks
