"""What administrators have to say to everybody, and who has got it. One row per recipient, made before the
first message goes out, so that a broadcast goes on after a crash where it was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, Select, delete, func, insert, literal, select, update

from servicekit.storage.database import Database
from telegram_service.dialogue.incoming import Language
from telegram_service.storage.tables import broadcasts, people, recipients


class BroadcastState(StrEnum):
    """Of a broadcast."""

    DRAFT = "draft"
    """Nobody has said yet that it is to go out."""
    RUNNING = "running"
    REPORTING = "reporting"
    """Everybody has it; who sent it is still to be told."""
    DONE = "done"


class Fate(StrEnum):
    """Of the message to one recipient."""

    OPEN = "open"
    SENDING = "sending"
    """The call is under way, or was cut off."""
    SENT = "sent"
    UNKNOWN = "unknown"
    """It may have arrived, and is not sent again."""
    BLOCKED = "blocked"
    """The bot is not wanted there any more."""
    REFUSED = "refused"
    """Telegram does not take it."""
    STOPPED = "stopped"
    """An administrator did not want it to go on."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One row."""

    id: int
    admin_id: int
    language: Language
    """Of who sends it."""
    content: bytes
    """A sealed message."""
    state: BroadcastState
    counts: Mapping[str, int]
    """By :class:`Fate`; empty before it is over."""


class Broadcasts:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def draft(self, key: str, admin_id: int, language: Language, content: bytes) -> int:
        """A broadcast that is to be confirmed; its number. The same ``key`` gives the same one."""
        known = select(broadcasts.c.id).where(broadcasts.c.key == key)
        values = {
            "key": key,
            "admin_id": admin_id,
            "language": language.value,
            "content": content,
            "state": BroadcastState.DRAFT,
            "counts": {},
            "at": self._clock(),
        }
        async with self._database.writing() as connection:
            number: int | None = (await connection.execute(known)).scalar_one_or_none()
            if number is None:
                made = insert(broadcasts).values(values).returning(broadcasts.c.id)
                number = (await connection.execute(made)).scalar_one()
            return number

    async def audience(self, allowed: Collection[int]) -> int:
        """How many a broadcast would go to now; ``allowed``: empty: everybody."""
        statement = select(func.count()).select_from(_audience(allowed).subquery())
        async with self._database.reading() as connection:
            count: int = (await connection.execute(statement)).scalar_one()
            return count

    async def start(self, number: int, admin_id: int, allowed: Collection[int]) -> int | None:
        """Let a draft go out to everybody whom a message would reach; how many these are. None: there is no
        such draft of theirs."""
        mine = (broadcasts.c.id == number) & (broadcasts.c.admin_id == admin_id)
        started = (
            update(broadcasts)
            .where(mine, broadcasts.c.state == BroadcastState.DRAFT)
            .values(state=BroadcastState.RUNNING)
            .returning(broadcasts.c.id)
        )
        all_of_them = _audience(allowed).add_columns(literal(number), literal(Fate.OPEN.value))
        filled = insert(recipients).from_select(["person_id", "broadcast_id", "state"], all_of_them)
        async with self._database.writing() as connection:
            if (await connection.execute(started)).one_or_none() is None:
                return None
            await connection.execute(filled)
            counted = select(func.count()).where(recipients.c.broadcast_id == number)
            count: int = (await connection.execute(counted)).scalar_one()
            return count

    async def stop(self, number: int, admin_id: int) -> bool:
        """Send it to nobody else. False: it does not run, or is not theirs."""
        mine = (broadcasts.c.id == number) & (broadcasts.c.admin_id == admin_id)
        running = select(broadcasts.c.id).where(
            mine, broadcasts.c.state.in_((BroadcastState.DRAFT, BroadcastState.RUNNING))
        )
        open_ones = (recipients.c.broadcast_id == number) & (recipients.c.state == Fate.OPEN)
        drafts = mine & (broadcasts.c.state == BroadcastState.DRAFT)
        async with self._database.writing() as connection:
            if (await connection.execute(running)).one_or_none() is None:
                return False
            await connection.execute(update(recipients).where(open_ones).values(state=Fate.STOPPED))
            await connection.execute(delete(broadcasts).where(drafts))
            return True

    async def current(self) -> Broadcast | None:
        """What is to be sent or reported, the oldest first."""
        states = (BroadcastState.RUNNING, BroadcastState.REPORTING)
        statement = (
            select(broadcasts).where(broadcasts.c.state.in_(states)).order_by(broadcasts.c.id).limit(1)
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
            return None if row is None else _broadcast(row)

    async def resume(self, number: int) -> None:
        """Whoever sent it is gone: of the calls that were under way, nobody knows whether they arrived."""
        cut = (recipients.c.broadcast_id == number) & (recipients.c.state == Fate.SENDING)
        async with self._database.writing() as connection:
            await connection.execute(update(recipients).where(cut).values(state=Fate.UNKNOWN))

    async def following(self, number: int, *, after: int = -1) -> int | None:
        """Who is next, in the order of their numbers."""
        statement = (
            select(recipients.c.person_id)
            .where(
                recipients.c.broadcast_id == number,
                recipients.c.state == Fate.OPEN,
                recipients.c.person_id > after,
            )
            .order_by(recipients.c.person_id)
            .limit(1)
        )
        async with self._database.reading() as connection:
            person: int | None = (await connection.execute(statement)).scalar_one_or_none()
            return person

    async def claim(self, number: int, person_id: int) -> bool:
        """The call to a recipient comes next. False: somebody else makes it, or it is not to be made."""
        here = (recipients.c.broadcast_id == number) & (recipients.c.person_id == person_id)
        claimed = update(recipients).where(here, recipients.c.state == Fate.OPEN).values(state=Fate.SENDING)
        async with self._database.writing() as connection:
            return (await connection.execute(claimed)).rowcount > 0

    async def mark(self, number: int, person_id: int, fate: Fate) -> None:
        """Note what became of the call."""
        here = (recipients.c.broadcast_id == number) & (recipients.c.person_id == person_id)
        async with self._database.writing() as connection:
            await connection.execute(update(recipients).where(here).values(state=fate))

    async def counts(self, number: int) -> Mapping[str, int]:
        """Of its recipients, by fate."""
        statement = (
            select(recipients.c.state, func.count())
            .where(recipients.c.broadcast_id == number)
            .group_by(recipients.c.state)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).all()
            return {row[0]: row[1] for row in rows}

    async def conclude(self, number: int, counts: Mapping[str, int]) -> None:
        """Nobody is left to send it to: keep the counts, and no longer who they were."""
        async with self._database.writing() as connection:
            await connection.execute(delete(recipients).where(recipients.c.broadcast_id == number))
            await self._change(connection, number, state=BroadcastState.REPORTING, counts=dict(counts))

    async def close(self, number: int) -> None:
        """Who sent it knows how it went."""
        async with self._database.writing() as connection:
            await self._change(connection, number, state=BroadcastState.DONE)

    async def clean(self, before: datetime) -> int:
        """Delete those from before a moment; returns how many."""
        async with self._database.writing() as connection:
            return (await connection.execute(delete(broadcasts).where(broadcasts.c.at < before))).rowcount

    async def forget(self, person_id: int) -> None:
        """Delete what somebody was to get or has sent."""
        async with self._database.writing() as connection:
            await connection.execute(delete(recipients).where(recipients.c.person_id == person_id))
            await connection.execute(delete(broadcasts).where(broadcasts.c.admin_id == person_id))

    @staticmethod
    async def _change(connection: Any, number: int, **values: Any) -> None:
        await connection.execute(update(broadcasts).where(broadcasts.c.id == number).values(values))


def _audience(allowed: Collection[int]) -> Select[Any]:
    statement = select(people.c.id).where(people.c.reachable, ~people.c.banned)
    return statement.where(people.c.id.in_(allowed)) if allowed else statement


def _broadcast(row: RowMapping) -> Broadcast:
    return Broadcast(
        row["id"],
        row["admin_id"],
        Language(row["language"]),
        row["content"],
        BroadcastState(row["state"]),
        row["counts"],
    )
