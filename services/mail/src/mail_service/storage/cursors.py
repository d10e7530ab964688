"""How far each folder has been read."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_service.mailbox.port import Cursor
from mail_service.storage.tables import cursors
from servicekit.storage.database import Database

# Built once, since every mail needs them.
_HERE = select(cursors).where(cursors.c.folder == bindparam("of_folder"))
_ADD = insert(cursors)
_MOVE = update(cursors).where(cursors.c.folder == bindparam("of_folder"))


class Cursors:
    """Raises ``StorageUnavailable`` while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, folder: str) -> Cursor | None:
        """None: it never was read."""
        row = await self._database.first(_HERE, {"of_folder": folder})
        return None if row is None else Cursor(row["uid_validity"], row["uid"])

    async def advance(self, connection: AsyncConnection, folder: str, cursor: Cursor) -> None:
        """Move on, in the transaction that stores what was read. Within one UIDVALIDITY it never goes back:
        who watched before, and has not noticed yet that it is another's turn, can do no harm."""
        row = (await connection.execute(_HERE, {"of_folder": folder})).mappings().one_or_none()
        values = {"uid_validity": cursor.uid_validity, "uid": cursor.uid}
        if row is None:
            await connection.execute(_ADD, values | {"folder": folder})
        elif row["uid_validity"] != cursor.uid_validity or row["uid"] < cursor.uid:
            await connection.execute(_MOVE, values | {"of_folder": folder})
