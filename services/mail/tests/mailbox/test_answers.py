"""What IMAP servers say, in the forms in which they say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_service.mailbox.answers import (
    folder_for,
    is_passing,
    read_content,
    read_folders,
    read_listed,
    read_selected,
    read_uids,
)
from mail_service.mailbox.pauses import Pauses
from mail_service.mailbox.port import Box

END = b"Completed (0.001 secs)."


@given(st.lists(st.integers(1, 2**32 - 1)), st.integers(0, 2**32 - 1))
def test_only_what_lies_after_the_cursor_is_new(uids: list[int], after: int) -> None:
    line = " ".join(map(str, uids)).encode()
    assert read_uids([line, END], after) == sorted({uid for uid in uids if uid > after})


def test_the_last_mail_that_a_star_always_names_is_not_new() -> None:
    assert read_uids([b"7", END], 7) == []
    assert read_uids([b"", END], 7) == []
    assert read_uids([b"SEARCH completed 99"], 7) == []
    assert read_uids([END], 7) == []


@pytest.mark.parametrize(
    ("flags", "takes"), [(b"\\Seen \\*", True), (b"\\Seen $NeoDone", True), (b"\\Seen \\Answered", False)]
)
def test_whether_a_folder_takes_keywords(flags: bytes, takes: bool) -> None:
    lines = [
        b"3 EXISTS",
        b"OK [UIDVALIDITY 1795] UIDs valid",
        b"OK [PERMANENTFLAGS (" + flags + b")] Ok",
        END,
    ]
    selected = read_selected(lines)
    assert selected is not None
    assert (selected.uid_validity, selected.takes_keywords) == (1795, takes)


def test_a_folder_without_uids_is_none_for_us() -> None:
    assert read_selected([b"3 EXISTS", b"OK [UIDNOTSTICKY] No", END]) is None


def test_mails_are_listed_in_any_order_of_mails_and_fields() -> None:
    date = b'INTERNALDATE " 1-Nov-2026 10:00:00 +0100"'
    second = b"2 FETCH (RFC822.SIZE 20 UID 9 " + date + b" FLAGS (\\Seen $neodone))"
    listed = read_listed(
        [
            second,
            b"5 EXISTS",
            b"1 FETCH (FLAGS (\\Deleted))",
            b'1 FETCH (UID 8 FLAGS () INTERNALDATE "no date" RFC822.SIZE 10)',
            END,
        ],
        "$NeoDone",
    )
    assert [(mail.uid, mail.size, mail.taken) for mail in listed] == [(8, 10, False), (9, 20, True)]
    assert listed[0].arrived_at is None
    assert listed[1].arrived_at is not None
    assert listed[1].arrived_at.isoformat() == "2026-11-01T10:00:00+01:00"


def test_a_body_comes_as_a_literal_or_in_quotes_or_not() -> None:
    literal: list[bytes | bytearray] = [b"1 FETCH (UID 8 BODY[]<0> {5}", bytearray(b"a\r\nb\0"), b")", END]
    assert read_content(literal) == b"a\r\nb\0"
    assert read_content([b'1 FETCH (UID 8 BODY[]<0> "a \\"b\\"")', END]) == b'a "b"'
    assert read_content([b'1 FETCH (UID 8 BODY[] "")', END]) == b""
    assert read_content([END]) is None


@pytest.mark.parametrize(
    ("lines", "sent", "drafts"),
    [
        (
            [b'(\\HasNoChildren \\Sent) "/" "Messages sent"', b'(\\Drafts) "/" Drafts'],
            "Messages sent",
            "Drafts",
        ),
        ([b"(\\Sent) NIL {7}", bytearray(b"Envoi\\s"), b'(\\Drafts) "." "a\\"b"'], "Envoi\\s", 'a"b'),
        ([b'() "." INBOX.Sent', b'() "." "INBOX.Brouillons"'], "INBOX.Sent", "INBOX.Brouillons"),
        ([b'() "/" "Envoy&AOk-s"', b'(\\NoSelect) "/" Drafts'], "Envoy&AOk-s", None),
        ([b'() "/" INBOX'], None, None),
        ([], None, None),
    ],
)
def test_folders_are_found_by_their_use_and_else_by_their_names(
    lines: list[bytes | bytearray], sent: str | None, drafts: str | None
) -> None:
    folders = read_folders([*lines, END])
    assert folder_for(Box.SENT, folders) == sent
    assert folder_for(Box.DRAFTS, folders) == drafts


def test_what_passes_by_itself_is_told_from_what_does_not() -> None:
    assert is_passing([b"[UNAVAILABLE] Try later"])
    assert is_passing([b"[inuse] Locked"])
    assert not is_passing([b"[AUTHENTICATIONFAILED] No"])
    assert not is_passing([b"No such folder"])
    assert not is_passing([])


@given(st.lists(st.binary()))
def test_nonsense_raises_nothing(lines: list[bytes]) -> None:
    read_selected(lines)
    read_uids(lines, 0)
    read_listed(lines, "$NeoDone")
    read_content(lines)
    read_folders(lines)
    is_passing(lines)


@given(st.floats(0.01, 10), st.floats(10, 1_000), st.integers(1, 200), st.floats(0, 1))
def test_pauses_grow_up_to_a_limit(first: float, longest: float, failures: int, chance: float) -> None:
    pauses = Pauses(first, longest, lambda: chance)
    waits = [pauses.next() for _ in range(failures)]
    assert waits == sorted(waits)
    assert all(first / 2 <= wait <= longest for wait in waits)
    pauses.forget()
    assert pauses.next() == waits[0]
