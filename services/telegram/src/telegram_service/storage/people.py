"""Who writes, and what they have chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import bindparam, delete, func, select, update

from servicekit.storage.database import Database, Writing
from servicekit.storage.deleting import delete_by_pages
from servicekit.storage.inserting import insert_once
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.settings import Creativity, Length, UserSettings
from telegram_service.storage.tables import people

SEEN_AGAIN = timedelta(minutes=1)
_KNOWN = select(people).where(people.c.id == bindparam("person"))
_SEEN = update(people).where(people.c.id == bindparam("person")).returning(people)
Choice = TypeVar("Choice", Length, Creativity)


@dataclass(frozen=True, slots=True)
class Person:
    """One row."""

    id: int
    settings: UserSettings
    banned: bool
    reachable: bool


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """One row, with its times."""

    person: Person
    first_seen: datetime
    last_seen: datetime


class People:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def meet(self, person_id: int, writing: Writing | None = None) -> Person:
        """Somebody who writes just now, new or known. That they do is noted once a minute.

        Args:
            writing: gives the transaction for that: one of a lane fails where they were forgotten meanwhile
                (``HeldLane.writing``). None: one of the database.
        """
        now = self._clock()
        known = await self._database.first(_KNOWN, {"person": person_id})
        if known is not None and known["reachable"] and now - known["last_seen"] < SEEN_AGAIN:
            return _person(known)
        seen = {"person": person_id, "last_seen": now, "reachable": True}
        async with (writing or self._database.writing)() as connection:
            row = (await connection.execute(_SEEN, seen)).mappings().one_or_none()
            if row is None:
                fresh = {
                    "id": person_id,
                    "settings": {},
                    "banned": False,
                    "reachable": True,
                    "first_seen": now,
                    "last_seen": now,
                }
                # Somebody's first messages may be worked on at the same time: a command goes past a question.
                await connection.execute(insert_once(self._database.dialect, people, fresh))
                row = (await connection.execute(_SEEN, seen)).mappings().one()
            return _person(row)

    async def save(self, person_id: int, settings: UserSettings) -> None:
        """Keep what they chose."""
        await self._change(person_id, settings=asdict(settings))

    async def ban(self, person_id: int, *, banned: bool) -> None:
        """Shut them out, or let them in again; also those who never wrote."""
        await self.meet(person_id)
        await self._change(person_id, banned=banned)

    async def mark(self, person_id: int, *, reachable: bool) -> None:
        """Whether messages reach them."""
        await self._change(person_id, reachable=reachable)

    async def reachable(self) -> list[int]:
        """Everybody whom a message would reach."""
        statement = select(people.c.id).where(people.c.reachable, ~people.c.banned).order_by(people.c.id)
        async with self._database.reading() as connection:
            return list((await connection.execute(statement)).scalars())

    async def active_since(self, moment: datetime) -> int:
        """How many wrote since then."""
        statement = select(func.count()).where(people.c.last_seen >= moment)
        async with self._database.reading() as connection:
            count: int = (await connection.execute(statement)).scalar_one()
            return count

    async def get(self, person_id: int) -> KnownPerson | None:
        """Somebody, without meeting them."""
        return next(iter(await self.listed(person_id=person_id, limit=1)), None)

    async def listed(
        self, *, person_id: int | None = None, banned_only: bool = False, limit: int = 100
    ) -> list[KnownPerson]:
        """Those who wrote last come first."""
        statement = select(people).order_by(people.c.last_seen.desc(), people.c.id).limit(limit)
        if person_id is not None:
            statement = statement.where(people.c.id == person_id)
        if banned_only:
            statement = statement.where(people.c.banned)
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return [KnownPerson(_person(row), row["first_seen"], row["last_seen"]) for row in rows]

    async def count(self, *, banned: bool = False) -> int:
        """How many are known, or how many of them are shut out."""
        statement = select(func.count()).select_from(people)
        if banned:
            statement = statement.where(people.c.banned)
        async with self._database.reading() as connection:
            count: int = (await connection.execute(statement)).scalar_one()
            return count

    async def forget(self, person_id: int) -> None:
        """Delete the row; a ban stays, as a number without a name."""
        async with self._database.writing() as connection:
            await connection.execute(delete(people).where(people.c.id == person_id, ~people.c.banned))
            blank = update(people).where(people.c.id == person_id).values(settings={})
            await connection.execute(blank)

    async def clean(self, before: datetime) -> int:
        """Delete those who have not written since a moment, and with them all that they had chosen; returns
        how many. Who is shut out stays so."""
        gone = (people.c.last_seen < before) & ~people.c.banned
        return await delete_by_pages(self._database, people.c.id, gone)

    async def _change(self, person_id: int, **values: Any) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(people).where(people.c.id == person_id).values(values))


def _person(row: Any) -> Person:
    return Person(row["id"], settings_of(row["settings"]), row["banned"], row["reachable"])


def settings_of(stored: dict[str, Any]) -> UserSettings:
    """Settings as they were stored; what is missing or no longer known is as at the beginning."""
    default = UserSettings()
    language = stored.get("language")
    return UserSettings(
        model=stored.get("model"),
        language=Language(language) if language in set(Language) else None,
        length=_known(Length, stored.get("length"), default.length),
        creativity=_known(Creativity, stored.get("creativity"), default.creativity),
        streaming=bool(stored.get("streaming", default.streaming)),
    )


def _known(choices: type[Choice], value: object, default: Choice) -> Choice:
    return next((choice for choice in choices if choice.value == value), default)
