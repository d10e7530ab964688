"""A mail goes on with a thread only by its references, and only where its sender took part."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from mail_service.letters import Letter
from mail_service.reading import read
from mail_service.threads import (
    MAX_REFERENCES,
    anchors,
    own_id,
    references_for,
    root_of,
    thread_of,
)


@dataclass(frozen=True)
class Whose:
    thread: str
    persons: frozenset[str]


def letter(
    message_id: str = "<3@x>", in_reply_to: str = "", references: str = "", subject: str = "s"
) -> Letter:
    head = {
        "From": "anne@example.org",
        "Subject": subject,
        "Message-ID": message_id,
        "In-Reply-To": in_reply_to,
        "References": references,
    }
    lines = [f"{name}: {value}" for name, value in head.items() if value]
    return read("\r\n".join([*lines, "", "text"]).encode())


def test_the_closest_mail_that_is_known_decides() -> None:
    known = {
        "<1@x>": Whose("old", frozenset({"anne"})),
        "<2@x>": Whose("new", frozenset({"anne"})),
    }
    mail = letter(in_reply_to="<lost@x>", references="<1@x> <2@x>")
    assert anchors(mail) == ("<lost@x>", "<2@x>", "<1@x>")
    assert thread_of(mail, known, "anne") == "new"


def test_who_took_no_part_begins_a_thread_of_their_own() -> None:
    known = {"<1@x>": Whose("of Anne", frozenset({"anne"}))}
    assert thread_of(letter(in_reply_to="<1@x>", references="<1@x>"), known, "mallory") is None


def test_the_subject_says_nothing() -> None:
    assert thread_of(letter(subject="Re: Une question"), {}, "anne") is None


def test_mails_in_the_wrong_order_agree_on_where_their_thread_began() -> None:
    assert root_of(letter("<1@x>")) == "<1@x>"
    assert root_of(letter("<2@x>", in_reply_to="<1@x>")) == "<1@x>"
    assert root_of(letter("<3@x>", in_reply_to="<2@x>", references="<1@x> <2@x>")) == "<1@x>"


def test_an_answer_refers_to_all_before_it_and_to_the_mail_last() -> None:
    assert references_for(letter(references="<1@x> <2@x>")) == ("<1@x>", "<2@x>", "<3@x>")
    assert references_for(letter(in_reply_to="<2@x>")) == ("<2@x>", "<3@x>")
    assert references_for(letter(in_reply_to="<1@x> <2@x>")) == ("<3@x>",)
    assert references_for(letter()) == ("<3@x>",)


def test_a_mail_without_an_id_is_answered_without_naming_one() -> None:
    mail = letter("")
    assert own_id(mail) is None
    assert references_for(mail) == ()


def test_ids_that_cannot_stand_in_a_header_are_left_out() -> None:
    long = f"<{'x' * 300}@x>"
    assert references_for(letter(references=f"<1@x> {long}")) == ("<1@x>", "<3@x>")
    assert own_id(letter(long)) is None


@given(st.integers(0, 99))
def test_long_chains_keep_their_first_and_their_newest(length: int) -> None:
    chain = [f"<{number}@y>" for number in range(length)]
    found = references_for(letter(references=" ".join(chain)))
    assert found[-1] == "<3@x>"
    assert found[0] == (chain[0] if chain else "<3@x>")
    assert len(found) == min(length + 1, MAX_REFERENCES)
    assert len(set(found)) == len(found)
