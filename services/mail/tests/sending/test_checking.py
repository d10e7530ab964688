"""Nothing goes out but one mail of ours to one recipient, whatever its parts held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_service.sending.checking import prepared, problem_of
from mail_service.sending.port import OutgoingMail

HEAD = (
    b"From: Neo <neo@example.test>\r\nTo: A <a@people.test>\r\n"
    b"Message-ID: <1@example.test>\r\nSubject: Re: x\r\n"
)


def problem(
    head: bytes = HEAD, recipient: str = "a@people.test", sender: str = "neo@example.test"
) -> str | None:
    return problem_of(OutgoingMail(sender, recipient, head + b"\r\nBcc: not a field\r\n"))


def test_a_mail_of_ours_may_go_out() -> None:
    assert problem() is None
    assert problem(HEAD + b"References: <1@a.test>\r\n <2@a.test>\r\n") is None
    assert problem(HEAD.replace(b"\r\n", b"\n")) is not None, "two kinds of line ends in one mail"
    assert problem_of(OutgoingMail("neo@example.test", "a@people.test", HEAD.replace(b"\r\n", b"\n"))) is None
    assert problem(recipient="A@people.test") is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@b@c.test",
        "a@people.test\r\nDATA",
        "a@people.test> SIZE=1",
        "<a@people.test>",
        "a b@people.test",
        "a@people.test,b@people.test",
        '"a\\"b"@people.test',
        "a@-people.test",
        "a\0@people.test",
        "x" * 250 + "@people.test",
    ],
)
def test_what_is_no_address_is_no_recipient_and_no_sender(address: str) -> None:
    assert problem(recipient=address)
    assert problem(sender=address)


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Subject: x\nBcc: victim@people.test\r\n",
        b"Subject: x\rBcc: victim@people.test\r\n",
        b"X: a\r\nBcc: victim@people.test\r\n",
        b"Cc: victim@people.test\r\n",
        b"Resent-To: victim@people.test\r\n",
        b"To: victim@people.test\r\n",
        b"From: bank@people.test\r\n",
        b"Message-ID: <2@example.test>\r\n",
        b"no field at all\r\n",
        b"X: nul\0\r\n",
    ],
)
def test_a_head_with_something_smuggled_in_stays_here(smuggled: bytes) -> None:
    assert problem(HEAD + smuggled)
    assert problem(smuggled + HEAD)


@pytest.mark.parametrize(
    "to", [b"victim@people.test", b"A <a@people.test>, victim@people.test", b"", b"a@people.test:;"]
)
def test_the_head_names_the_recipient_and_nobody_else(to: bytes) -> None:
    assert problem(HEAD.replace(b"A <a@people.test>", to))


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n.\r\n"])).map(b"".join))
def test_no_text_ends_the_mail_before_its_end(content: bytes) -> None:
    wire = prepared(content)
    assert wire.endswith(b"\r\n")
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    without_pairs = wire.replace(b"\r\n", b"")
    assert b"\r" not in without_pairs
    assert b"\n" not in without_pairs
    lines = [line.removeprefix(b".") if line.startswith(b".") else line for line in wire.split(b"\r\n")]
    assert b"".join(lines) == content.replace(b"\r", b"").replace(b"\n", b"")
