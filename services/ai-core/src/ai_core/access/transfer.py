"""API keys and what they have used, as records of JSON Lines (docs/moving.md describes them)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_core.access.administration import KeyWish, check_wish, utc_now
from ai_core.access.caller import KeyLimits, PriorityClass, Scope, known_scopes
from ai_core.access.keys import digest_of, parse_key
from ai_core.access.networks import parse_network
from ai_core.errors import InvalidRequest
from ai_core.storage.keys import KeyRecord
from ai_core.storage.tables import api_keys, usage_by_day
from ai_core.storage.usage import AMOUNTS
from servicekit.storage.database import Database
from servicekit.storage.paging import rows_of
from servicekit.storage.transfer import Refused, Verdict, in_utc

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{10}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
PerMinute = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
AtOnce = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A name that is not known may be a limit that would be lost in silence."""


class ApiKey(_Strict, frozen=True, kw_only=True, tag="key", tag_field="kind"):
    """An API key; limits that are missing are none."""

    key: str | None = None
    """The whole key. An export has ``id`` and ``secret_sha256`` in its place."""
    id: Id | None = None
    secret_sha256: Digest | None = None
    name: Name
    scopes: tuple[Scope, ...]
    allowed_models: tuple[Name, ...] = ()
    """Empty: all."""
    networks: tuple[Name, ...] = ()
    """In CIDR notation; empty: everywhere."""
    default_model: Name | None = None
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: Tokens | None = None
    tokens_per_day: Tokens | None = None
    concurrent_requests: AtOnce | None = None
    priority: PriorityClass = PriorityClass.NORMAL
    """-1, 0 or 1."""
    fair_by_user: bool = False
    created_at: Moment | None = None
    """None: now."""
    rotated_at: Moment | None = None
    expires_at: Moment | None = None
    revoked_at: Moment | None = None
    previous_sha256: Digest | None = None
    """Of the secret that a rotation has replaced."""
    previous_valid_until: Moment | None = None


class Usage(_Strict, frozen=True, kw_only=True, tag="usage", tag_field="kind"):
    """What a key has used of a model on a day (UTC)."""

    key: Id
    day: date
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    requests: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cached_prompt_tokens: Count = 0
    cached_answers: Count = 0


class AccessRecords:
    """Implements :class:`servicekit.storage.transfer.Records`."""

    type = ApiKey | Usage

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now

    async def store(self, connection: AsyncConnection, record: Any) -> Verdict:
        if isinstance(record, ApiKey):
            return await self._key(connection, record)
        return await _usage(connection, record)

    async def all(self, database: Database) -> AsyncIterator[msgspec.Struct | None]:
        async for row in rows_of(database, api_keys):
            yield _api_key(row)
        async for row in rows_of(database, usage_by_day):
            amounts = {name: row[name] for name in AMOUNTS}
            yield Usage(key=row["key_id"], day=row["day"], model=row["model"], **amounts)

    async def _key(self, connection: AsyncConnection, key: ApiKey) -> Verdict:
        record = _record(key, self._now())
        there = select(api_keys.c.secret_digest).where(api_keys.c.id == record.id)
        digest = (await connection.execute(there)).scalar_one_or_none()
        if digest is None:
            await connection.execute(insert(api_keys), asdict(record))
            return Verdict.NEW
        if digest != record.secret_digest:
            raise Refused("there is a key of this id with another secret")
        return Verdict.KNOWN


async def _usage(connection: AsyncConnection, usage: Usage) -> Verdict:
    place = {"key_id": usage.key, "day": usage.day, "model": usage.model}
    amounts = {name: getattr(usage, name) for name in AMOUNTS}
    if not usage.model.isprintable():
        raise Refused("`$.model` is not printable")
    there = select(usage_by_day).where(*(usage_by_day.c[name] == value for name, value in place.items()))
    row = (await connection.execute(there)).mappings().one_or_none()
    if row is None:
        await connection.execute(insert(usage_by_day), place | amounts)
        return Verdict.NEW
    if any(row[name] != amount for name, amount in amounts.items()):
        raise Refused("other numbers are counted already for this key, day and model")
    return Verdict.KNOWN


def _record(key: ApiKey, now: datetime) -> KeyRecord:
    """The row of a key. Raises Refused."""
    key_id, digest = _identity(key)
    limits = KeyLimits(
        key.requests_per_minute, key.tokens_per_minute, key.tokens_per_day, key.concurrent_requests
    )
    wish = KeyWish(
        name=key.name,
        scopes=frozenset(key.scopes),
        limits=limits,
        allowed_models=key.allowed_models,
        networks=key.networks,
        default_model=key.default_model,
        priority=key.priority,
        fair_by_user=key.fair_by_user,
    )
    try:
        check_wish(wish, now)
    except InvalidRequest as error:
        raise Refused(error.message) from None
    return KeyRecord(
        id=key_id,
        secret_digest=digest,
        previous_digest=key.previous_sha256,
        previous_valid_until=_moment(key.previous_valid_until),
        name=key.name,
        scopes=tuple(scope.value for scope in Scope if scope in wish.scopes),
        allowed_models=key.allowed_models,
        networks=tuple(str(parse_network(network)) for network in key.networks),
        default_model=key.default_model,
        priority=key.priority.value,
        fair_by_user=key.fair_by_user,
        created_at=_moment(key.created_at) or now,
        rotated_at=_moment(key.rotated_at),
        expires_at=_moment(key.expires_at),
        revoked_at=_moment(key.revoked_at),
        **asdict(limits),
    )


def _identity(key: ApiKey) -> tuple[str, str]:
    """The id and the digest of the secret."""
    if key.key is None:
        if key.id is None or key.secret_sha256 is None:
            raise Refused("a key needs `key`, or both `id` and `secret_sha256`")
        return key.id, key.secret_sha256
    presented = parse_key(key.key)
    if presented is None:
        raise Refused("`$.key` is no key of this service: neo_ID_SECRET")
    found = presented.id, digest_of(presented.secret)
    if (key.id or found[0], key.secret_sha256 or found[1]) != found:
        raise Refused("`key` does not belong to `id` and `secret_sha256`")
    return found


def _moment(value: datetime | None) -> datetime | None:
    return None if value is None else in_utc(value)


def _api_key(row: RowMapping) -> ApiKey:
    same = (
        *("id", "name", "allowed_models", "networks", "default_model", "fair_by_user", "created_at"),
        *("rotated_at", "expires_at", "revoked_at", "previous_valid_until"),
        *("requests_per_minute", "tokens_per_minute", "tokens_per_day", "concurrent_requests"),
    )
    return ApiKey(
        secret_sha256=row["secret_digest"],
        previous_sha256=row["previous_digest"],
        scopes=known_scopes(row["scopes"]),
        priority=PriorityClass(row["priority"]),
        **{name: row[name] for name in same},
    )
