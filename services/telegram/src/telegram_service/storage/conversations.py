"""What was said, lane by lane. Texts are sealed before they come to the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import RowMapping, bindparam, case, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.storage.database import Database, Writing
from servicekit.storage.deleting import PAGE, delete_by_pages
from servicekit.storage.inserting import insert_once
from servicekit.storage.sealing import Seal, Unreadable
from telegram_service.dialogue.history import Turn, block_of, first_of
from telegram_service.storage.tables import conversations, turns

EXPORTED_AT_ONCE = 100

# Built once, because every message needs them.
_IN_CONVERSATION = (turns.c.lane == bindparam("of_lane")) & (turns.c.conversation == bindparam("number"))
_NEWEST = (
    select(turns, select(func.count()).where(_IN_CONVERSATION).scalar_subquery().label("there_are"))
    .where(_IN_CONVERSATION)
    .order_by(turns.c.entry_id.desc())
    .limit(bindparam("most"))
)
_GO_ON = (
    update(conversations)
    .where(conversations.c.lane == bindparam("of_lane"))
    .values(
        number=conversations.c.number + case((conversations.c.last_used < bindparam("long_ago"), 1), else_=0),
        last_used=bindparam("now"),
    )
    .returning(conversations.c.number)
)


@lru_cache
def _put(dialect: str) -> Any:
    """A turn; of one that there is, only what was said changes: it stays in its conversation. One that
    somebody else has had, or another lane, is replaced: SQLite gives numbers of deleted entries again."""
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(turns)
    new = insert.excluded
    is_its_own = (turns.c.lane == new.lane) & (turns.c.person_id == new.person_id)
    replaced = ("lane", "person_id", "question", "answer", "document", "at")
    stays = {"conversation": case((is_its_own, turns.c.conversation), else_=new.conversation)}
    return insert.on_conflict_do_update(
        index_elements=["entry_id"], set_={name: new[name] for name in replaced} | stays
    )


_USED = (
    update(conversations)
    .where(conversations.c.lane == bindparam("of_lane"))
    .values(last_used=bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A turn of a conversation."""

    entry_id: int
    """Of the journal: what it answered."""
    person_id: int
    """Who asked."""
    turn: Turn


@dataclass(frozen=True, slots=True)
class Conversation:
    """What goes on in a lane."""

    number: int
    """It goes up whenever a new one begins there."""
    turns: list[Remembered]
    """The newest, oldest first."""


@dataclass(frozen=True, slots=True)
class KeptTurn:
    """A turn as it is exported."""

    lane: str
    at: datetime
    turn: Turn | None
    """None: it cannot be opened any more."""


class Conversations:
    """The turns of every lane; a lane's conversation ends when it is reset or not used for a while.

    Raises ``StorageUnavailable`` while the database is away.
    """

    def __init__(
        self,
        database: Database,
        seal: Seal,
        clock: Callable[[], datetime],
        *,
        session_timeout: timedelta,
    ) -> None:
        self._database = database
        self._seal = seal
        self._clock = clock
        self._timeout = session_timeout

    async def recent(self, lane: str, most_turns: int, writing: Writing | None = None) -> Conversation:
        """The conversation that goes on in a lane, without turns that cannot be opened any more.

        Args:
            most_turns: that are to be read; there are up to a block more (``dialogue.history``).
            writing: gives the transaction, as in ``People.meet``.
        """
        async with (writing or self._database.writing)() as connection:
            number = await self._number(connection, lane)
            wanted = {"of_lane": lane, "number": number, "most": most_turns + block_of(most_turns)}
            rows = (await connection.execute(_NEWEST, wanted)).mappings().all()
        known = rows[: len(rows) and rows[0]["there_are"] - first_of(rows[0]["there_are"], most_turns)]
        opened = [(row, self._opened(row)) for row in reversed(known)]
        return Conversation(
            number, [Remembered(row["entry_id"], row["person_id"], turn) for row, turn in opened if turn]
        )

    async def add(self, lane: str, person_id: int, entry_id: int, turn: Turn, conversation: int) -> None:
        """A question that was answered, or answered again.

        Args:
            conversation: that it was asked in, as :meth:`recent` said: another may have begun since.
        """
        async with self._database.writing() as connection:
            await self.store(connection, lane, person_id, entry_id, turn, conversation)

    async def store(
        self,
        connection: AsyncConnection,
        lane: str,
        person_id: int,
        entry_id: int,
        turn: Turn,
        conversation: int,
    ) -> None:
        """As :meth:`add`, in a transaction of the caller's."""
        values = {
            "entry_id": entry_id,
            "lane": lane,
            "person_id": person_id,
            "conversation": conversation,
            "question": self._seal.close(turn.question.encode(), lane),
            "answer": self._seal.close(turn.answer.encode(), lane),
            "document": self._seal.close(turn.document.encode(), lane) if turn.document else None,
            "at": self._clock(),
        }
        await connection.execute(_USED, {"of_lane": lane, "now": self._clock()})
        await connection.execute(_put(self._database.dialect), values)

    async def drop(self, connection: AsyncConnection, entry_id: int) -> None:
        """Delete a turn, in the transaction that deletes its entry."""
        await connection.execute(delete(turns).where(turns.c.entry_id == entry_id))

    async def reset(self, lane: str) -> None:
        """Begin a new conversation."""
        async with self._database.writing() as connection:
            await self._number(connection, lane)
            await connection.execute(
                update(conversations)
                .where(conversations.c.lane == lane)
                .values(number=conversations.c.number + 1)
            )

    async def of_person(self, person_id: int) -> list[KeptTurn]:
        """Everything that somebody asked and was answered, oldest first."""
        kept: list[KeptTurn] = []
        statement = select(turns).where(turns.c.person_id == person_id).order_by(turns.c.entry_id)
        page, after = statement.limit(EXPORTED_AT_ONCE), None
        while True:
            following = page if after is None else page.where(turns.c.entry_id > after)
            async with self._database.reading() as connection:
                rows = (await connection.execute(following)).mappings().all()
            if not rows:
                return kept
            # Documents are large: they are opened while everything else goes on.
            kept += await asyncio.to_thread(self._kept, rows)
            after = rows[-1]["entry_id"]

    def _kept(self, rows: Sequence[RowMapping]) -> list[KeptTurn]:
        return [KeptTurn(row["lane"], row["at"], self._opened(row)) for row in rows]

    async def forget(self, person_id: int, own_lanes: Sequence[str] = ()) -> None:
        """Delete what somebody asked and was answered, wherever, and the conversations that are empty then:
        these, and those in ``own_lanes``."""
        said = delete(turns).where(turns.c.person_id == person_id).returning(turns.c.lane)
        used = exists().where(turns.c.lane == conversations.c.lane)
        async with self._database.writing() as connection:
            lanes = sorted({*own_lanes, *(await connection.execute(said)).scalars()})
            for start in range(0, len(lanes), PAGE):
                here = conversations.c.lane.in_(lanes[start : start + PAGE])
                await connection.execute(delete(conversations).where(here, ~used))

    async def clean(self, before: datetime) -> int:
        """Delete turns from before a moment; returns how many."""
        count = await delete_by_pages(self._database, turns.c.entry_id, turns.c.at < before)
        await delete_by_pages(self._database, conversations.c.lane, conversations.c.last_used < before)
        return count

    async def _number(self, connection: AsyncConnection, lane: str) -> int:
        """Of the conversation that goes on; a new one if nothing was said for long."""
        now = self._clock()
        # The row is held until the transaction ends: /reset comes past the answer that is being remembered.
        used = {"of_lane": lane, "now": now, "long_ago": now - self._timeout}
        number: int | None = (await connection.execute(_GO_ON, used)).scalar_one_or_none()
        if number is not None:
            return number
        newest = select(func.max(turns.c.conversation)).where(turns.c.lane == lane)
        first: int = ((await connection.execute(newest)).scalar_one_or_none() or 0) + 1
        fresh = {"lane": lane, "number": first, "last_used": now}
        await connection.execute(insert_once(self._database.dialect, conversations, fresh))
        return int((await connection.execute(_GO_ON, used)).scalar_one())

    def _opened(self, row: RowMapping) -> Turn | None:
        texts = (row["question"], row["answer"], row["document"])
        try:
            return Turn(*(self._seal.open(text, row["lane"]).decode() if text else "" for text in texts))
        except Unreadable:
            # SECRET_KEY has changed, or it was damaged: what is said from now on is answered all the same.
            return None
