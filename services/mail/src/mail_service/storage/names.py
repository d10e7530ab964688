"""Under which names addresses, threads and texts are kept: the same each time, and telling nothing."""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from sqlalchemy import insert, select

from mail_service.storage.tables import secrets as secrets_table
from servicekit.storage.database import Database
from servicekit.storage.sealing import Seal

_KEY = "names"
_KEY_BYTES = 32


class Names:
    """Made with a key of the database's own, so that they outlast a change of SECRET_KEY."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def person(self, address: str) -> str:
        """Of whoever writes from an address."""
        return self._name(b"person", address.lower())

    def message(self, message_id: str) -> str:
        """Of a Message-ID."""
        return self._name(b"message", message_id)

    def thread(self, account: str, address: str, root: str) -> str:
        """Of what somebody and one of our accounts write to each other, beginning with a Message-ID."""
        return self._name(b"thread", account, address.lower(), root)

    def entry(self, message_id: str, digest: str) -> str:
        """Of a mail that came in."""
        return self._name(b"entry", message_id, digest)

    def notice(self, about: str, what: str) -> str:
        """Of a word of ours, under which it is said once."""
        return self._name(b"notice", about, what)

    def answer(self, entry: str, domain: str) -> str:
        """The Message-ID of the answer to a mail, given the key of its entry: the same whenever it is
        written."""
        local = self._name(b"answer", entry)[:32]
        return f"<{local}.{self._own_mark(local)}@{domain}>"

    def is_ours(self, message_id: str) -> bool:
        """Whether a Message-ID was given by us, whatever became of what we know of it."""
        local, _, mark = message_id.strip("<>").partition("@")[0].partition(".")
        return bool(mark) and hmac.compare_digest(mark.encode(), self._own_mark(local).encode())

    def _own_mark(self, local: str) -> str:
        return self._name(b"ours", local)[:16]

    def _name(self, kind: bytes, *parts: str) -> str:
        # With lengths, so that no two lists of parts are joined alike.
        pieces = [kind, *(part.encode("utf-8", "surrogatepass") for part in parts)]
        joined = b"".join(len(piece).to_bytes(8, "big") + piece for piece in pieces)
        return hmac.digest(self._key, joined, "sha256").hex()


async def load_names(database: Database, seal: Seal) -> Names:
    """The names of a database; its key is made with the first call, and kept sealed. Whoever has the database
    and no SECRET_KEY cannot try out addresses.

    Raises:
        Unreadable: SECRET_KEY is another than before.
        StorageUnavailable: the database is down.
    """
    stored = select(secrets_table.c.value).where(secrets_table.c.name == _KEY)
    async with database.writing() as connection:
        value: Any = (await connection.execute(stored)).scalar_one_or_none()
        if value is None:
            value = seal.close(secrets.token_bytes(_KEY_BYTES), _KEY)
            await connection.execute(insert(secrets_table).values(name=_KEY, value=value))
    return Names(seal.open(value, _KEY))
