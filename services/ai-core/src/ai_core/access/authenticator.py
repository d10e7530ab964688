"""From what a request shows to the caller it comes from, or a refusal."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from ai_core.access.caller import Caller, KeyLimits, PriorityClass, known_scopes
from ai_core.access.credentials import Headers, key_in
from ai_core.access.keys import NO_DIGEST, digest_of, is_one_of, parse_key
from ai_core.access.networks import Address, Network, client_address, parse_network, within
from ai_core.errors import Forbidden, StorageUnavailable, Unauthorized
from ai_core.storage.keys import KeyRecord

GRACE_SECONDS = 60.0
"""How long a verified key goes on working while the database is down."""
MAX_REMEMBERED = 10_000
FORWARDED_FOR = b"x-forwarded-for"


class KeySource(Protocol):
    """Where keys are looked up."""

    async def find(self, key_id: str) -> KeyRecord | None:
        """The key as it is stored at this moment. Raises StorageUnavailable."""


@dataclass(frozen=True, slots=True)
class Rules:
    """``header_name`` in lower case, as ASGI has it."""

    header_name: bytes = b"x-api-key"
    trusted_proxies: Sequence[Network] = ()


def utc_now() -> datetime:
    """The time that expiry is measured by."""
    return datetime.now(UTC)


class Authenticator:
    """Verifies keys against the database, each time, so that a revocation holds at once everywhere."""

    def __init__(
        self,
        keys: KeySource,
        rules: Rules,
        *,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._now = now
        self._remembered = Remembered(clock)

    async def authenticate(
        self,
        headers: Headers,
        client: tuple[str, int] | None,
        first_message_key: str | None = None,
        *,
        basic: bool = False,
    ) -> Caller:
        """The caller of a request or of a WebSocket.

        Args:
            headers: of the request, as in ASGI's scope.
            client: the peer's address and port, as in ASGI's scope.
            first_message_key: a key that came in a WebSocket's first message; headers go before it.
            basic: whether HTTP Basic will do, for browsers.

        Raises:
            Unauthorized: no key, or one that is not valid (any more).
            Forbidden: the key may not be used from this address.
            StorageUnavailable: the database is down, and the key was not verified within 60 seconds.
        """
        headers = list(headers)
        shown = key_in(headers, self._rules.header_name, basic=basic) or first_message_key
        if shown is None:
            raise Unauthorized(
                "An API key is needed: send it in the header "
                f"'{self._rules.header_name.decode('ascii')}' or as 'Authorization: Bearer …'.",
                code="missing_api_key",
            )
        record = await self._verified(shown)
        forwarded = [value.decode("latin-1") for name, value in headers if name == FORWARDED_FOR]
        peer = client[0] if client else None
        check_network(record, client_address(peer, forwarded, self._rules.trusted_proxies))
        return caller_of(record)

    async def _verified(self, shown: str) -> KeyRecord:
        presented = parse_key(shown)
        if presented is None:
            raise _not_valid()
        digest = digest_of(presented.secret)
        try:
            record = await self._keys.find(presented.id)
        except StorageUnavailable:
            record = self._remembered.get(presented.id)
            if record is None:
                raise
            return checked(record, digest, self._now())
        found = checked(record, digest, self._now())
        self._remembered.put(found)
        return found


class Remembered:
    """Keys that were verified within the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: OrderedDict[str, tuple[float, KeyRecord]] = OrderedDict()

    def put(self, record: KeyRecord) -> None:
        """The database has just vouched for this key."""
        self._records[record.id] = (self._clock(), record)
        self._records.move_to_end(record.id)
        if len(self._records) > MAX_REMEMBERED:
            self._records.popitem(last=False)

    def get(self, key_id: str) -> KeyRecord | None:
        """The key, unless that was too long ago."""
        verified_at, record = self._records.get(key_id, (0.0, None))
        if record is None or self._clock() - verified_at > GRACE_SECONDS:
            return None
        return record


def checked(record: KeyRecord | None, digest: str, now: datetime) -> KeyRecord:
    """The record, if the digest is its own and it is valid at this time.

    Where there is no such key, the same comparison is made with a digest that nothing has: neither
    the answer nor its time tells which ids exist.

    Raises:
        Unauthorized: wrong, revoked or expired; only who knows the secret learns which.
    """
    current, previous = _digests(record, now)
    if not is_one_of(digest, current, previous) or record is None:
        raise _not_valid()
    if record.revoked_at is not None:
        raise Unauthorized("This API key has been revoked. Ask for a new one.", code="revoked_api_key")
    if record.expires_at is not None and record.expires_at <= now:
        raise Unauthorized("This API key has expired. Ask for a new one.", code="expired_api_key")
    return record


def _digests(record: KeyRecord | None, now: datetime) -> tuple[str, str]:
    if record is None:
        return NO_DIGEST, NO_DIGEST
    until = record.previous_valid_until
    alive = record.previous_digest is not None and until is not None and now < until
    return record.secret_digest, (alive and record.previous_digest) or NO_DIGEST


def check_network(record: KeyRecord, address: Address | None) -> None:
    """Raises Forbidden if the key is bound to networks and the address is in none of them."""
    if not record.networks:
        return
    networks = [parse_network(network) for network in record.networks]
    if address is None or not within(address, networks):
        raise Forbidden("This API key may not be used from your network address.", code="network_not_allowed")


def caller_of(record: KeyRecord) -> Caller:
    """What the rest of the service knows of a key."""
    return Caller(
        key_id=record.id,
        name=record.name,
        scopes=frozenset(known_scopes(record.scopes)),
        limits=KeyLimits(
            requests_per_minute=record.requests_per_minute,
            tokens_per_minute=record.tokens_per_minute,
            tokens_per_day=record.tokens_per_day,
            concurrent_requests=record.concurrent_requests,
        ),
        allowed_models=frozenset(record.allowed_models),
        default_model=record.default_model,
        priority=PriorityClass(record.priority),
        fair_by_user=record.fair_by_user,
    )


def _not_valid() -> Unauthorized:
    return Unauthorized("The API key is not valid. Check that it was copied as a whole.")
