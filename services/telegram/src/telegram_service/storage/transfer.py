"""People, chats and what was said, as records of JSON Lines (docs/moving.md describes them for operators)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import RowMapping, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.storage.database import Database
from servicekit.storage.inserting import insert_once
from servicekit.storage.paging import rows_of
from servicekit.storage.sealing import Seal, Unreadable
from servicekit.storage.transfer import Refused, Verdict, in_utc, number_for
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.settings import Creativity, Length, UserSettings
from telegram_service.storage.people import settings_of
from telegram_service.storage.tables import conversations, people, turns

# Telegram's numbers have at most 52 significant bits (Bot API, "User").
Id = Annotated[int, msgspec.Meta(ge=1, lt=2**52)]
Chat = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,19}(:[0-9]{1,19})?\Z")]
"""A chat's number, negative for groups, and a topic's number where there is one."""
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A name that is not known may be a setting that would be lost in silence."""


class Chosen(_Strict, frozen=True, kw_only=True):
    """What somebody has set; what is missing is the service's default."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    language: Language | None = None
    length: Length = Length.NORMAL
    creativity: Creativity = Creativity.BALANCED
    streaming: bool = True


class User(_Strict, frozen=True, kw_only=True, tag="user", tag_field="kind"):
    """Somebody who has written to the bot, or is shut out."""

    id: Id
    settings: Chosen = Chosen()
    banned: bool = False
    reachable: bool = True
    """False: they have blocked the bot."""
    first_seen: Moment | None = None
    """None: ``last_seen``."""
    last_seen: Moment


class ChatState(_Strict, frozen=True, kw_only=True, tag="chat", tag_field="kind"):
    """Which conversation of a chat goes on."""

    chat: Chat
    conversation: Number
    last_used: Moment


class Said(_Strict, frozen=True, kw_only=True, tag="turn", tag_field="kind"):
    """A question and its answer."""

    chat: Chat
    user: Id
    at: Moment
    question: str
    answer: str
    document: str = ""
    conversation: Number = 0
    """Goes up with each conversation of a chat. 0 comes before all that the service begins."""


class TelegramRecords:
    """Implements :class:`servicekit.storage.transfer.Records`."""

    type = User | ChatState | Said

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._begun: dict[str, tuple[int, datetime]] = {}
        """Chats that this import has brought, and how far their conversation has come."""

    async def store(self, connection: AsyncConnection, record: Any) -> Verdict:
        match record:
            case User():
                return await _insert(connection, people, _person(record))
            case ChatState():
                values = {"lane": record.chat, "number": record.conversation}
                return await _insert(
                    connection, conversations, values | {"last_used": in_utc(record.last_used)}
                )
            case _:
                return await self._turn(connection, record)

    async def all(self, database: Database) -> AsyncIterator[msgspec.Struct | None]:
        async for row in rows_of(database, people):
            yield _user(row)
        async for row in rows_of(database, conversations):
            yield ChatState(chat=row["lane"], conversation=row["number"], last_used=row["last_used"])
        async for row in rows_of(database, turns):
            yield self._said(row)

    async def _turn(self, connection: AsyncConnection, said: Said) -> Verdict:
        at = in_utc(said.at)
        known = select(people.c.id).where(people.c.id == said.user)
        if (await connection.execute(known)).first() is None:
            raise Refused("there is no user of this number: their line has to come first")
        if await self._is_there(connection, said, at):
            return Verdict.KNOWN
        texts = {"question": said.question, "answer": said.answer, "document": said.document}
        sealed = {name: self._seal.close(text.encode(), said.chat) for name, text in texts.items()}
        values = sealed | {
            "entry_id": await number_for(connection, turns.c.entry_id, at),
            "lane": said.chat,
            "person_id": said.user,
            "conversation": said.conversation,
            "document": sealed["document"] if said.document else None,
            "at": at,
        }
        await connection.execute(insert(turns).values(values))
        await self._go_on(connection, said, at)
        return Verdict.NEW

    async def _is_there(self, connection: AsyncConnection, said: Said, at: datetime) -> bool:
        # Not by the person as well: SQLite would choose their index, and read all they have ever said.
        here = (turns.c.lane == said.chat) & (turns.c.at == at)
        rows = (await connection.execute(select(turns).where(here))).mappings().all()
        wanted = (said.question, said.answer, said.document)
        found = [self._said(row) for row in rows if row["person_id"] == said.user]
        return any(one and (one.question, one.answer, one.document) == wanted for one in found)

    async def _go_on(self, connection: AsyncConnection, said: Said, at: datetime) -> None:
        """The conversation of a chat that is new here goes on where its newest turn was."""
        lane, state = said.chat, (said.conversation, at)
        if lane not in self._begun:
            fresh = {"lane": lane, "number": state[0], "last_used": state[1]}
            if await _insert(connection, conversations, fresh) is Verdict.NEW:
                self._begun[lane] = state
        elif state > self._begun[lane]:
            values = {"number": state[0], "last_used": state[1]}
            await connection.execute(update(conversations).where(conversations.c.lane == lane).values(values))
            self._begun[lane] = state

    def _said(self, row: RowMapping) -> Said | None:
        names, lane = ("question", "answer", "document"), row["lane"]
        try:
            texts = {name: self._seal.open(row[name], lane).decode() if row[name] else "" for name in names}
        except Unreadable:
            return None
        return Said(chat=lane, user=row["person_id"], at=row["at"], conversation=row["conversation"], **texts)


async def _insert(connection: AsyncConnection, table: Table, values: dict[str, Any]) -> Verdict:
    done = await connection.execute(insert_once(connection.dialect.name, table, values))
    return Verdict.NEW if done.rowcount == 1 else Verdict.KNOWN


def _person(user: User) -> dict[str, Any]:
    chosen, last_seen = user.settings, in_utc(user.last_seen)
    settings = UserSettings(chosen.model, chosen.language, chosen.length, chosen.creativity, chosen.streaming)
    return {
        "id": user.id,
        "settings": asdict(settings),
        "banned": user.banned,
        "reachable": user.reachable,
        "first_seen": last_seen if user.first_seen is None else in_utc(user.first_seen),
        "last_seen": last_seen,
    }


def _user(row: RowMapping) -> User:
    first_seen = None if row["first_seen"] == row["last_seen"] else row["first_seen"]
    return User(
        id=row["id"],
        settings=Chosen(**asdict(settings_of(row["settings"]))),
        banned=row["banned"],
        reachable=row["reachable"],
        first_seen=first_seen,
        last_seen=row["last_seen"],
    )
