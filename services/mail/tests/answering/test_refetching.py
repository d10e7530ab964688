"""What the server could not hand over when it came is had when it can."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from mail_service.answering.envelopes import CameIn
from mail_service.answering.refetching import whole
from mail_service.mailbox.port import Cursor, MailboxError, MailboxUnavailable, Unread
from mail_store import ANNE, BOB, Store, written

HEAD, ALL = b"Subject: a question\r\n\r\n", b"Subject: a question\r\n\r\nWhat is it?\r\n"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Folder:
    """As much of a mailbox as this needs."""

    says: bytes | MailboxError | None

    async def fetch(self, cursor: Cursor) -> bytes | None:
        assert cursor == Cursor(7, 3)
        if isinstance(self.says, MailboxError):
            raise self.says
        return self.says


def came(unread: str) -> CameIn:
    return CameIn("neo@example.test", "INBOX", 7, 3, NOW, "t", HEAD, 99, unread)


def folders(says: bytes | MailboxError | None) -> Any:
    return cast(Any, {"INBOX": Folder(says)})


async def test_a_mail_is_whole_once_the_server_hands_it_over() -> None:
    found = await whole(folders(ALL), came(Unread.UNREADABLE))
    assert (found.raw, found.size, found.unread) == (ALL, len(ALL), "")
    assert (found.folder, found.uid, found.thread) == ("INBOX", 3, "t")


@pytest.mark.parametrize("says", [None, MailboxUnavailable("away")])
async def test_what_cannot_be_had_now_either_stays_as_it_is(says: MailboxError | None) -> None:
    nothing: dict[str, Any] = {}
    for folder in (folders(says), nothing):
        found = await whole(folder, came(Unread.UNREADABLE))
        assert found == came(Unread.UNREADABLE)


@pytest.mark.parametrize("unread", ["", Unread.TOO_LARGE])
async def test_nothing_else_is_asked_for(unread: str) -> None:
    assert await whole(folders(ALL), came(unread)) == came(unread)


async def test_the_whole_letter_is_kept_under_its_real_sender(store: Store) -> None:
    number = await store.letter("<nothing-known>", "", "", thread="t")
    await store.letter("<2@x>", BOB, thread="of Bob")
    await store.letters.completed(number, "t", written("<1@x>", ANNE, "What is it?"))
    assert [one.written.text for one in await store.letters.of_person(store.names.person(ANNE))] == [
        "What is it?"
    ]
    assert await store.letters.of_person(store.names.person("")) == []
    assert await store.keeper.forget(ANNE) == 1
