"""Letters and their answers, as records of JSON Lines (docs/moving.md describes them for operators)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_service.reading.addresses import normal
from mail_service.storage.correspondence import Written
from mail_service.storage.names import Names
from mail_service.storage.tables import letters
from servicekit.storage.database import Database
from servicekit.storage.sealing import Seal, Unreadable
from servicekit.storage.transfer import Refused, Verdict, in_utc, number_for

PAGE = 100

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
MessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=16_000)]
Line = Annotated[str, msgspec.Meta(max_length=16_000)]
Address = Annotated[str, msgspec.Meta(max_length=254)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A name that is not known may be a value that would be lost in silence."""


class Words(_Strict, frozen=True, kw_only=True):
    """What we answered."""

    message_id: MessageId
    to: Address | None = None
    """None: who wrote the letter."""
    at: Moment
    name: Line = ""
    """Under which we wrote."""
    subject: Line = ""
    text: str
    references: tuple[MessageId, ...] = ()
    date: Moment | None = None
    essence: str = ""


class LetterRecord(_Strict, frozen=True, kw_only=True, tag="letter", tag_field="kind"):
    """A mail that came in, with the answer to it, if there was one."""

    address: Address
    """Who wrote; empty: the letter does not say."""
    account: Address | None = None
    """Which of our addresses it was written to."""
    thread: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    """As an export names it; None: by account, address and the first of the references."""
    message_id: MessageId
    at: Moment
    name: Line = ""
    subject: Line = ""
    text: str
    references: tuple[MessageId, ...] = ()
    date: Moment | None = None
    essence: str = ""
    """What is compared with later mails."""
    shown: bool | None = None
    """Whether the model reads it again; None: if it was answered."""
    answer: Words | None = None


class MailRecords:
    """Implements :class:`servicekit.storage.transfer.Records`."""

    type = LetterRecord

    def __init__(self, seal: Seal, names: Names) -> None:
        self._seal = seal
        self._names = names

    async def store(self, connection: AsyncConnection, record: Any) -> Verdict:
        return await self._letter(connection, record)

    async def all(self, database: Database) -> AsyncIterator[msgspec.Struct | None]:
        page = select(letters).where(~letters.c.outgoing).order_by(letters.c.entry_id).limit(PAGE)
        following = page
        while True:
            async with database.reading() as connection:
                incoming = (await connection.execute(following)).mappings().all()
                answers = await _answers(connection, [row["entry_id"] for row in incoming])
            for row in incoming:
                yield self._record(row, answers.get(row["entry_id"]))
            if len(incoming) < PAGE:
                return
            following = page.where(letters.c.entry_id > incoming[-1]["entry_id"])

    async def _letter(self, connection: AsyncConnection, record: LetterRecord) -> Verdict:
        address = normal(record.address) if record.address else ""
        if address is None:
            raise Refused("`$.address` is nothing that can be written to")
        person, thread = self._names.person(address), self._thread(record, address)
        name = self._names.message(record.message_id)
        here = (letters.c.person == person) & (letters.c.thread == thread) & ~letters.c.outgoing
        known = select(letters.c.id).where(letters.c.message_name == name, here).limit(1)
        if (await connection.execute(known)).first() is not None:
            return Verdict.KNOWN
        shown = record.answer is not None if record.shown is None else record.shown
        shared = {
            "entry_id": await number_for(connection, letters.c.entry_id, in_utc(record.at)),
            "thread": thread,
            "person": person,
            "shown": shown,
        }
        rows = [self._row(record, address, shared | {"outgoing": False})]
        if record.answer is not None:
            to = address if record.answer.to is None else record.answer.to
            rows.append(self._row(record.answer, to, shared | {"outgoing": True}))
        await connection.execute(insert(letters), rows)
        return Verdict.NEW

    def _thread(self, record: LetterRecord, address: str) -> str:
        if record.thread is not None:
            return record.thread
        account = normal(record.account or "")
        if account is None:
            raise Refused("`$.account` is missing: which of your addresses the letter was written to")
        return self._names.thread(account, address, (*record.references, record.message_id)[0])

    def _row(self, record: LetterRecord | Words, address: str, shared: dict[str, Any]) -> dict[str, Any]:
        written = Written(
            record.message_id,
            address,
            record.name,
            record.subject,
            record.text,
            record.references,
            record.date,
            record.essence,
        )
        return shared | {
            "message_name": self._names.message(record.message_id),
            "content": self._seal.close(msgspec.msgpack.encode(written), shared["thread"]),
            "at": in_utc(record.at),
        }

    def _record(self, row: RowMapping, answer: RowMapping | None) -> LetterRecord | None:
        written = self._opened(row)
        answered = None if answer is None else self._opened(answer)
        if written is None or (answer is not None and answered is None):
            return None
        words = None
        if answer is not None and answered is not None:
            to = None if answered.address == written.address else answered.address
            words = Words(at=answer["at"], to=to, **_words(answered))
        usual = words is not None
        return LetterRecord(
            address=written.address,
            thread=row["thread"],
            at=row["at"],
            shown=None if row["shown"] == usual else row["shown"],
            answer=words,
            **_words(written),
        )

    def _opened(self, row: RowMapping) -> Written | None:
        try:
            content = self._seal.open(row["content"], row["thread"])
        except Unreadable:
            return None
        return msgspec.msgpack.decode(content, type=Written)


def _words(written: Written) -> dict[str, Any]:
    names = ("message_id", "name", "subject", "text", "references", "date", "essence")
    return {name: getattr(written, name) for name in names}


async def _answers(connection: AsyncConnection, entries: list[int]) -> dict[int, RowMapping]:
    statement = select(letters).where(letters.c.entry_id.in_(entries), letters.c.outgoing)
    return {row["entry_id"]: row for row in (await connection.execute(statement)).mappings()}
