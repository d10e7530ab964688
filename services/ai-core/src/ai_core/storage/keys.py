"""The table of API keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import RowMapping, bindparam, func, insert, literal, or_, select, update

from ai_core.storage.database import Database
from ai_core.storage.tables import api_keys
from servicekit.storage.types import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One row. Digests, never secrets; all times with their zone.

    ``previous_digest`` is what a rotation has replaced, good until ``previous_valid_until``.
    """

    id: str
    name: str
    secret_digest: str
    previous_digest: str | None = None
    previous_valid_until: datetime | None = None
    scopes: tuple[str, ...]
    allowed_models: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    default_model: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrent_requests: int | None = None
    priority: int = 0
    fair_by_user: bool = False
    created_at: datetime
    rotated_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


_FIND = select(api_keys).where(api_keys.c.id == bindparam("key_id"))


def _record(row: RowMapping) -> KeyRecord:
    return KeyRecord(**row)


class KeyRepository:
    """Keys by id. Every method raises StorageUnavailable when the database is down."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key_id: str) -> KeyRecord | None:
        """The key as it is stored at this moment, revoked or expired ones too."""
        row = await self._database.first(_FIND, {"key_id": key_id})
        return None if row is None else _record(row)

    async def all(self) -> list[KeyRecord]:
        """All keys, the oldest first."""
        statement = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        async with self._database.reading() as connection:
            return [_record(row) for row in (await connection.execute(statement)).mappings()]

    async def add(self, record: KeyRecord) -> None:
        """Store a new key. Raises IntegrityError if the id is taken."""
        async with self._database.writing() as connection:
            await connection.execute(insert(api_keys), asdict(record))

    async def rotate(
        self, key_id: str, digest: str, now: datetime, previous_valid_until: datetime | None
    ) -> bool:
        """Put a new digest in place of the old one, which stays good for a while if a time is given.

        Returns False where there is no such key, or it is revoked.
        """
        old = api_keys.c.secret_digest if previous_valid_until is not None else None
        statement = (
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(
                secret_digest=digest,
                previous_digest=old,
                previous_valid_until=previous_valid_until,
                rotated_at=now,
            )
        )
        async with self._database.writing() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def revoke(self, key_id: str, now: datetime) -> None:
        """Revoke a key for good, if there is one; the first time counts."""
        statement = (
            update(api_keys)
            .where(api_keys.c.id == key_id)
            .values(revoked_at=func.coalesce(api_keys.c.revoked_at, literal(now, Moment)))
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)

    async def any_usable(self, now: datetime) -> bool:
        """Whether there is a key that is neither revoked nor expired."""
        statement = (
            select(api_keys.c.id)
            .where(
                api_keys.c.revoked_at.is_(None),
                or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now),
            )
            .limit(1)
        )
        async with self._database.reading() as connection:
            return (await connection.execute(statement)).first() is not None
