"""What was written in every thread, in both directions. Texts are sealed before they come to the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Select, bindparam, case, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_service.storage.names import Names
from mail_service.storage.tables import journal, letters
from servicekit.storage.database import Database
from servicekit.storage.deleting import delete_by_pages
from servicekit.storage.sealing import Seal


class Written(msgspec.Struct, frozen=True):
    """What somebody wrote, or we."""

    message_id: str
    address: str
    """Of the other side: who wrote to us, or whom we answered."""
    name: str
    subject: str
    text: str
    references: tuple[str, ...] = ()
    date: datetime | None = None
    essence: str = ""
    """What is compared with later mails (``deciding.likeness``)."""


@dataclass(frozen=True, slots=True)
class Filed:
    """A letter where it belongs."""

    entry_id: int
    outgoing: bool
    thread: str
    at: datetime
    written: Written


@dataclass(frozen=True, slots=True)
class Whose:
    """Which thread a Message-ID is known from, and who takes part in it."""

    thread: str
    persons: frozenset[str]


class Before(StrEnum):
    """What became of a copy that came first."""

    ANSWERED = "answered"
    PENDING = "pending"
    """Nothing yet."""


def _copies() -> Select[Any, Any]:
    answers, entries = letters.alias("answers"), journal.entries.c
    is_answered = exists().where(answers.c.entry_id == letters.c.entry_id, answers.c.outgoing)
    is_pending = exists().where(entries.id == letters.c.entry_id, entries.closed_at.is_(None))
    return (
        select(is_answered.label("answered"), is_pending.label("pending"))
        .select_from(letters)
        .where(
            letters.c.message_name == bindparam("name"),
            letters.c.person == bindparam("who"),
            ~letters.c.outgoing,
            letters.c.entry_id < bindparam("number"),
        )
    )


# What every mail needs is built once: building a statement anew, and finding its compiled form again, costs
# more than executing it.
NOTHING: Mapping[str, Any] = {}
_NEWEST_FIRST = (letters.c.entry_id.desc(), letters.c.outgoing.desc())
_EARLIER = letters.c.entry_id < bindparam("number")
_THEIRS = letters.c.person == bindparam("who")
_KNOWN = select(letters.c.message_name, letters.c.thread, letters.c.person).where(
    letters.c.message_name.in_(bindparam("names", expanding=True))
)
_ADD = insert(letters)
_OF_ENTRY = letters.c.entry_id == bindparam("number")
_SHOW = update(letters).where(_OF_ENTRY, ~letters.c.outgoing).values(shown=True).returning(letters)
_LOWEST = select(func.coalesce(func.min(letters.c.entry_id), 0)).scalar_subquery()
# Below all numbers of entries, and of others that were detached.
_DETACH = update(letters).where(_OF_ENTRY).values(entry_id=case((_LOWEST < 0, _LOWEST), else_=0) - 1)
_TAKE_BACK = delete(letters).where(_OF_ENTRY, letters.c.outgoing)
_BEFORE = (
    select(letters)
    .where(letters.c.thread == bindparam("of_thread"), _THEIRS, letters.c.shown, _EARLIER)
    .order_by(*_NEWEST_FIRST)
    .limit(bindparam("most"))
)
_LATELY = (
    select(letters)
    .where(_THEIRS, letters.c.at >= bindparam("since"), _EARLIER)
    .order_by(*_NEWEST_FIRST)
    .limit(bindparam("most"))
)
_COPIES = _copies()


class Correspondence:
    """Raises ``StorageUnavailable`` while the database is away, and ``Unreadable`` where SECRET_KEY is not
    the one with which a letter was sealed."""

    def __init__(self, database: Database, seal: Seal, names: Names, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._seal = seal
        self._names = names
        self._clock = clock

    async def known(self, message_ids: Collection[str]) -> Mapping[str, Whose]:
        """What is known of some Message-IDs."""
        by_name = {self._names.message(one): one for one in message_ids}
        found: dict[str, Whose] = {}
        if not by_name:
            return found
        for row in await self._database.rows(_KNOWN, {"names": list(by_name)}):
            message_id, thread = by_name[row["message_name"]], row["thread"]
            before = found.get(message_id)
            # Of copies in several threads, the first counts.
            if before is None or before.thread == thread:
                persons = before.persons if before is not None else frozenset()
                found[message_id] = Whose(thread, persons | {row["person"]})
        return found

    async def came_in(
        self, connection: AsyncConnection, entry_id: int, thread: str, written: Written
    ) -> None:
        """Keep a letter, in the transaction that stores its entry."""
        # SQLite gives the number of the newest entry again once that is deleted.
        await self.detach(connection, entry_id)
        row = self._row(entry_id, thread, written, person=self._names.person(written.address))
        await connection.execute(_ADD, row | {"outgoing": False, "shown": False})

    async def detach(self, connection: AsyncConnection, entry_id: int) -> None:
        """A letter's entry is deleted, in this transaction, and another may get its number. The letter stays
        as long as others: by it is found, for who wrote it, what they were told in other ways."""
        await connection.execute(_DETACH, {"number": entry_id})

    async def completed(self, entry_id: int, thread: str, written: Written) -> None:
        """Keep a letter in the place of its head, which is all that was to be had of it when it came in."""
        row = self._row(entry_id, thread, written, person=self._names.person(written.address))
        here = (letters.c.entry_id == entry_id) & ~letters.c.outgoing
        async with self._database.writing() as connection:
            await connection.execute(update(letters).where(here).values(row))

    async def answered(self, connection: AsyncConnection, entry_id: int, written: Written) -> None:
        """Keep the answer to a letter, and show both to the model from now on. Doing it again changes nothing
        but the answer."""
        asked = (await connection.execute(_SHOW, {"number": entry_id})).mappings().one_or_none()
        if asked is None:
            # Somebody wanted it forgotten meanwhile.
            return
        await connection.execute(_TAKE_BACK, {"number": entry_id})
        row = self._row(entry_id, asked["thread"], written, person=asked["person"])
        await connection.execute(_ADD, row | {"outgoing": True, "shown": True})

    async def apologised(self, connection: AsyncConnection, entry_id: int, written: Written) -> None:
        """Keep what a sender was told in the place of an answer; the model is not shown it."""
        of_entry = select(letters.c.thread, letters.c.person).where(letters.c.entry_id == entry_id)
        found = (await connection.execute(of_entry)).all()
        # Nothing: it was forgotten. Two: an operator has put it back, and it is answered.
        if len(found) == 1:
            row = self._row(entry_id, found[0].thread, written, person=found[0].person)
            await connection.execute(insert(letters).values(row | {"outgoing": True, "shown": False}))

    async def before(self, entry_id: int, thread: str, person: str, limit: int) -> list[Filed]:
        """What was written in a thread with somebody before an entry and is shown, oldest first."""
        values = {"of_thread": thread, "who": person, "number": entry_id, "most": limit}
        return list(reversed(await self._filed(_BEFORE, values)))

    async def lately(self, person: str, since: datetime, before: int, limit: int) -> list[Filed]:
        """What somebody wrote and was answered lately, in all threads, before an entry; the newest first."""
        values = {"who": person, "since": since, "number": before, "most": limit}
        return await self._filed(_LATELY, values)

    async def came_before(self, entry_id: int, message_id: str, person: str) -> Before | None:
        """What became of somebody's letter that came in before under the same Message-ID: to another of our
        addresses. None: there is none, or none that is answered: a forger's copy may have come first."""
        values = {"name": self._names.message(message_id), "who": person, "number": entry_id}
        copies = await self._database.rows(_COPIES, values)
        if any(copy["answered"] for copy in copies):
            return Before.ANSWERED
        return Before.PENDING if any(copy["pending"] for copy in copies) else None

    async def of_entry(self, entry_id: int) -> list[Filed]:
        """A letter, and the answer to it, if there is one."""
        return await self._filed(
            select(letters).where(letters.c.entry_id == entry_id).order_by(letters.c.outgoing)
        )

    async def of_person(self, person: str) -> list[Filed]:
        """Everything that somebody wrote and was answered, oldest first."""
        statement = select(letters).where(letters.c.person == person)
        return await self._filed(statement.order_by(letters.c.entry_id, letters.c.outgoing))

    async def threads_of(self, person: str) -> list[str]:
        """The threads in which somebody wrote."""
        statement = (
            select(letters.c.thread).where(letters.c.person == person).distinct().order_by(letters.c.thread)
        )
        async with self._database.reading() as connection:
            return list((await connection.execute(statement)).scalars())

    async def forget(self, connection: AsyncConnection, person: str, threads: Collection[str]) -> int:
        """Delete everything of somebody in some threads, in the transaction that deletes the threads' lanes;
        how many letters that were."""
        theirs = (letters.c.person == person) & letters.c.thread.in_(threads)
        return (await connection.execute(delete(letters).where(theirs))).rowcount

    async def clean(self, before: datetime) -> int:
        """Delete what is older; how many letters that were. As long as its entry is there, so is a letter:
        by it, the entry is found when somebody wants everything to be forgotten."""
        old = (letters.c.at < before) & letters.c.entry_id.not_in(select(journal.entries.c.id))
        return await delete_by_pages(self._database, letters.c.id, old)

    async def _filed(self, statement: Select[Any], values: Mapping[str, Any] = NOTHING) -> list[Filed]:
        return [
            Filed(
                row["entry_id"],
                row["outgoing"],
                row["thread"],
                row["at"],
                msgspec.msgpack.decode(self._seal.open(row["content"], row["thread"]), type=Written),
            )
            for row in await self._database.rows(statement, values)
        ]

    def _row(self, entry_id: int, thread: str, written: Written, *, person: str) -> dict[str, Any]:
        return {
            "entry_id": entry_id,
            "message_name": self._names.message(written.message_id),
            "thread": thread,
            "person": person,
            "content": self._seal.close(msgspec.msgpack.encode(written), thread),
            "at": self._clock(),
        }
