"""Making, listing, rotating and revoking keys: what the command and the admin routes both do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ai_core.access.caller import KeyLimits, PriorityClass, Scope
from ai_core.access.keys import PresentedKey, digest_of, is_id, new_key, new_secret
from ai_core.access.networks import parse_network
from ai_core.errors import InvalidRequest, KeyNotFound
from ai_core.storage.keys import KeyRecord, KeyRepository

MAX_NAME = 200
MAX_NETWORKS = 64
MAX_MODELS = 256
MAX_GRACE = timedelta(days=30)

CHANNEL_SCOPES = frozenset({Scope.GENERATE, Scope.EMBEDDINGS, Scope.MODELS_READ})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWish:
    """A key that is to be made. ``limits`` hold as they stand: None is no limit."""

    name: str
    scopes: AbstractSet[Scope]
    limits: KeyLimits = field(default_factory=KeyLimits)
    allowed_models: Sequence[str] = ()
    networks: Sequence[str] = ()
    default_model: str | None = None
    priority: PriorityClass = PriorityClass.NORMAL
    fair_by_user: bool = False
    expires_at: datetime | None = None


def channel_wish(channel: str) -> KeyWish:
    """The key of a channel service: no limit per minute, and fairness by the ``user`` that it sends."""
    return KeyWish(name=f"channel {channel}", scopes=CHANNEL_SCOPES, fair_by_user=True)


def local_wish() -> KeyWish:
    """The key of whoever runs this service on their own machine: it opens everything."""
    return KeyWish(name="local", scopes=frozenset(Scope), fair_by_user=True)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key with its secret, which nobody will see again."""

    record: KeyRecord
    key: PresentedKey


def utc_now() -> datetime:
    """The time that goes into the records."""
    return datetime.now(UTC)


class KeyAdministration:
    """Every method raises StorageUnavailable when the database is down."""

    def __init__(self, keys: KeyRepository, now: Callable[[], datetime] = utc_now) -> None:
        self._keys = keys
        self._now = now

    async def create(self, wish: KeyWish, key: PresentedKey | None = None) -> IssuedKey:
        """Make a key; its secret is in the result and nowhere else. Raises InvalidRequest."""
        now = self._now()
        check_wish(wish, now)
        key = key or new_key()
        record = _record(wish, key, now)
        await self._keys.add(record)
        return IssuedKey(record, key)

    async def all(self) -> list[KeyRecord]:
        """All keys, the oldest first, revoked ones too."""
        return await self._keys.all()

    async def get(self, key_id: str) -> KeyRecord:
        """One key. Raises KeyNotFound."""
        record = await self._keys.find(key_id) if is_id(key_id) else None
        if record is None:
            raise KeyNotFound(f"There is no key '{key_id[:40]}'.")
        return record

    async def rotate(self, key_id: str, grace: timedelta = timedelta(0)) -> IssuedKey:
        """Give a key a new secret. The old one ends at once, or after ``grace`` (up to 30 days).

        Raises:
            KeyNotFound: no such key.
            InvalidRequest: the key is revoked, or the grace is out of range.
        """
        if not timedelta(0) <= grace <= MAX_GRACE:
            raise InvalidRequest("The grace is between 0 seconds and 30 days.", parameter="grace_seconds")
        await self.get(key_id)
        now, key = self._now(), PresentedKey(key_id, new_secret())
        until = now + grace if grace else None
        if not await self._keys.rotate(key_id, digest_of(key.secret), now, until):
            raise InvalidRequest("This key is revoked. Make a new one.", code="revoked_api_key")
        return IssuedKey(await self.get(key_id), key)

    async def revoke(self, key_id: str) -> KeyRecord:
        """End a key at once and for good. Raises KeyNotFound."""
        await self.get(key_id)
        await self._keys.revoke(key_id, self._now())
        return await self.get(key_id)

    async def any_usable(self) -> bool:
        """Whether anybody could get in."""
        return await self._keys.any_usable(self._now())


def state_of(record: KeyRecord, now: datetime) -> str:
    """``active``, ``revoked`` or ``expired``."""
    if record.revoked_at is not None:
        return "revoked"
    return "expired" if record.expires_at is not None and record.expires_at <= now else "active"


def check_wish(wish: KeyWish, now: datetime) -> None:
    """Raises InvalidRequest for what cannot become a key."""
    if not wish.name.strip() or len(wish.name) > MAX_NAME or not wish.name.isprintable():
        raise InvalidRequest(f"A name has 1 to {MAX_NAME} printable characters.", parameter="name")
    if not wish.scopes:
        raise InvalidRequest("A key without scopes opens nothing: name at least one.", parameter="scopes")
    if wish.expires_at is not None and wish.expires_at <= now:
        raise InvalidRequest("A key expires in the future, or never.", parameter="expires_at")
    _check_models(wish)
    _check_networks(wish.networks)


def _check_models(wish: KeyWish) -> None:
    names = [*wish.allowed_models, *([wish.default_model] if wish.default_model is not None else [])]
    if len(names) > MAX_MODELS or any(
        not (0 < len(name) <= MAX_NAME and name.isprintable()) for name in names
    ):
        raise InvalidRequest("A model's name has 1 to 200 printable characters.", parameter="allowed_models")
    if (
        wish.default_model is not None
        and wish.allowed_models
        and wish.default_model not in wish.allowed_models
    ):
        raise InvalidRequest("The default model is not among the allowed ones.", parameter="default_model")


def _check_networks(networks: Sequence[str]) -> None:
    if len(networks) > MAX_NETWORKS:
        raise InvalidRequest(f"At most {MAX_NETWORKS} networks.", parameter="networks")
    for number, network in enumerate(networks):
        try:
            parse_network(network)
        except ValueError:
            raise InvalidRequest(
                "A network is written like 192.0.2.0/24 or 2001:db8::/32.", parameter=f"networks[{number}]"
            ) from None


def _record(wish: KeyWish, key: PresentedKey, now: datetime) -> KeyRecord:
    return KeyRecord(
        id=key.id,
        name=wish.name,
        secret_digest=digest_of(key.secret),
        scopes=tuple(scope.value for scope in Scope if scope in wish.scopes),
        allowed_models=tuple(wish.allowed_models),
        networks=tuple(str(parse_network(network)) for network in wish.networks),
        default_model=wish.default_model,
        requests_per_minute=wish.limits.requests_per_minute,
        tokens_per_minute=wish.limits.tokens_per_minute,
        tokens_per_day=wish.limits.tokens_per_day,
        concurrent_requests=wish.limits.concurrent_requests,
        priority=wish.priority.value,
        fair_by_user=wish.fair_by_user,
        created_at=now,
        expires_at=wish.expires_at,
    )
