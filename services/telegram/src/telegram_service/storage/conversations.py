"""What was said, lane by lane. Texts are sealed before they come to the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.storage.database import Database
from servicekit.storage.inserting import insert_once
from servicekit.storage.sealing import Seal
from telegram_service.dialogue.history import Turn
from telegram_service.storage.tables import conversations, turns


@dataclass(frozen=True, slots=True)
class KeptTurn:
    """A turn as it is exported."""

    lane: str
    at: datetime
    turn: Turn


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

    async def recent(self, lane: str, limit: int) -> list[tuple[int, Turn]]:
        """The newest turns of the conversation that goes on in a lane, oldest first, each with the entry of
        the journal that it answered."""
        async with self._database.writing() as connection:
            number = await self._number(connection, lane)
            statement = (
                select(turns)
                .where(turns.c.lane == lane, turns.c.conversation == number)
                .order_by(turns.c.entry_id.desc())
                .limit(limit)
            )
            rows = (await connection.execute(statement)).mappings().all()
        return [(row["entry_id"], self._opened(row)) for row in reversed(rows)]

    async def add(self, lane: str, person_id: int, entry_id: int, turn: Turn) -> None:
        """A question that was answered, or answered again."""
        async with self._database.writing() as connection:
            number = await self._number(connection, lane)
            await connection.execute(delete(turns).where(turns.c.entry_id == entry_id))
            values = {
                "entry_id": entry_id,
                "lane": lane,
                "person_id": person_id,
                "conversation": number,
                "question": self._seal.close(turn.question.encode(), lane),
                "answer": self._seal.close(turn.answer.encode(), lane),
                "document": self._seal.close(turn.document.encode(), lane) if turn.document else None,
                "at": self._clock(),
            }
            await connection.execute(insert(turns).values(values))

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
        statement = select(turns).where(turns.c.person_id == person_id).order_by(turns.c.entry_id)
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return [KeptTurn(row["lane"], row["at"], self._opened(row)) for row in rows]

    async def forget(self, person_id: int) -> None:
        """Delete what somebody asked and was answered, wherever."""
        async with self._database.writing() as connection:
            await connection.execute(delete(turns).where(turns.c.person_id == person_id))
            still_used = select(turns.c.lane)
            await connection.execute(delete(conversations).where(conversations.c.lane.not_in(still_used)))

    async def clean(self, before: datetime) -> int:
        """Delete turns from before a moment; returns how many."""
        async with self._database.writing() as connection:
            count: int = (await connection.execute(delete(turns).where(turns.c.at < before))).rowcount
            await connection.execute(delete(conversations).where(conversations.c.last_used < before))
            return count

    async def _number(self, connection: AsyncConnection, lane: str) -> int:
        """Of the conversation that goes on; a new one if nothing was said for long."""
        now = self._clock()
        # Held until the transaction ends: /reset comes past the answer that is being remembered.
        present = select(conversations).where(conversations.c.lane == lane).with_for_update()
        row = (await connection.execute(present)).mappings().one_or_none()
        if row is None:
            newest = select(func.max(turns.c.conversation)).where(turns.c.lane == lane)
            number: int = ((await connection.execute(newest)).scalar_one_or_none() or 0) + 1
            fresh = {"lane": lane, "number": number, "last_used": now}
            await connection.execute(insert_once(self._database.dialect, conversations, fresh))
            row = (await connection.execute(present)).mappings().one()
        number = int(row["number"]) + int(now - row["last_used"] > self._timeout)
        await connection.execute(
            update(conversations).where(conversations.c.lane == lane).values(number=number, last_used=now)
        )
        return number

    def _opened(self, row: RowMapping) -> Turn:
        texts = (row["question"], row["answer"], row["document"])
        return Turn(*(self._seal.open(text, row["lane"]).decode() if text else "" for text in texts))
