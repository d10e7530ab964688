"""Who gets in, who does not, and what happens while the database is away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from access_keys import open_access
from ai_core.access import authenticator as module
from ai_core.access.administration import IssuedKey, KeyAdministration, KeyWish, local_wish
from ai_core.access.authenticator import GRACE_SECONDS, Authenticator, Rules, caller_of
from ai_core.access.caller import Caller, KeyLimits, PriorityClass, Scope
from ai_core.access.keys import NO_DIGEST, is_one_of, new_key
from ai_core.access.networks import parse_network
from ai_core.errors import Forbidden, InvalidRequest, NeoError, StorageUnavailable, Unauthorized
from ai_core.storage.database import Database
from ai_core.storage.keys import KeyRecord, KeyRepository
from ai_core.storage.migrations import upgrade
from servers import PostgresServer
from servicekit.storage.database import database_url

CLIENT = ("203.0.113.9", 4711)
WISH = KeyWish(name="test", scopes={Scope.GENERATE})


class World:
    """Keys in a database that can be away, and clocks that stand still until they are moved."""

    def __init__(self, repository: KeyRepository) -> None:
        self.time = datetime(2026, 3, 1, tzinfo=UTC)
        self.seconds = 0.0
        self.away = False
        self.lookups = 0
        self._repository = repository
        self.keys = KeyAdministration(repository, lambda: self.time)
        rules = Rules(b"x-api-key", [parse_network("10.0.0.0/8")])
        self.authenticator = Authenticator(self, rules, now=lambda: self.time, clock=lambda: self.seconds)

    async def find(self, key_id: str) -> KeyRecord | None:
        self.lookups += 1
        if self.away:
            raise StorageUnavailable("away", retry_after=1)
        return await self._repository.find(key_id)

    async def enter(self, key: object, client: tuple[str, int] | None = CLIENT, *headers: str) -> Caller:
        forwarded = [(b"x-forwarded-for", header.encode()) for header in headers]
        return await self.authenticator.authenticate([(b"x-api-key", str(key).encode()), *forwarded], client)

    async def refusal(self, key: object, *more: object) -> NeoError:
        with pytest.raises(NeoError) as refused:
            await self.enter(key, *more)  # type: ignore[arg-type]
        return refused.value


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    access = await open_access(tmp_path)
    yield World(KeyRepository(access.database))
    await access.database.close()


async def test_a_key_becomes_its_caller(world: World) -> None:
    limits = KeyLimits(1, 2, 3, 4)
    wish = replace(
        WISH,
        limits=limits,
        allowed_models=["m"],
        default_model="m",
        priority=PriorityClass.HIGH,
        fair_by_user=True,
    )
    issued = await world.keys.create(wish)
    assert await world.enter(issued.key) == Caller(
        key_id=issued.record.id,
        name="test",
        scopes={Scope.GENERATE},
        limits=limits,
        allowed_models={"m"},
        default_model="m",
        priority=PriorityClass.HIGH,
        fair_by_user=True,
    )


async def test_a_key_in_the_first_message_will_do_and_headers_go_before_it(world: World) -> None:
    one, two = await world.keys.create(WISH), await world.keys.create(WISH)
    enter = world.authenticator.authenticate
    assert (await enter([], CLIENT, str(one.key))).key_id == one.record.id
    headers = [(b"authorization", f"Bearer {two.key}".encode())]
    assert (await enter(headers, CLIENT, str(one.key))).key_id == two.record.id
    with pytest.raises(Unauthorized) as refused:
        await enter([], CLIENT)
    assert refused.value.code == "missing_api_key"


async def test_wrong_keys_are_all_told_the_same(world: World) -> None:
    issued = await world.keys.create(WISH)
    stranger = new_key()
    wrong = [
        stranger,
        replace(stranger, id=issued.key.id),
        replace(issued.key, id=stranger.id),
        "nonsense",
        "é",
    ]
    answers = {(error.code, error.message) for error in [await world.refusal(key) for key in wrong]}
    assert answers == {("invalid_api_key", "The API key is not valid. Check that it was copied as a whole.")}


async def test_unknown_ids_take_the_same_way_as_known_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look-up and one comparison of full digests, whether or not there is such a key."""
    issued = await world.keys.create(WISH)
    compared: list[tuple[int, ...]] = []
    real = is_one_of

    def noting(digest: str, current: str, previous: str) -> bool:
        compared.append((len(digest), len(current), len(previous)))
        return real(digest, current, previous)

    monkeypatch.setattr(module, "is_one_of", noting)
    for key in (new_key(), replace(new_key(), id=issued.key.id), issued.key):
        world.lookups, compared[:] = 0, []
        with contextlib.suppress(Unauthorized):
            await world.enter(key)
        assert (world.lookups, compared) == (1, [(64, 64, 64)])


async def test_the_digest_of_nothing_opens_nothing(world: World) -> None:
    record = (await world.keys.create(WISH)).record
    assert record.secret_digest != NO_DIGEST
    with pytest.raises(Unauthorized):
        module.checked(None, NO_DIGEST, world.time)


async def test_a_scope_that_only_a_later_version_knows_opens_nothing(world: World) -> None:
    """As after going back to an older version."""
    issued = await world.keys.create(WISH)
    record = replace(issued.record, scopes=("generate", "of a later version"))
    assert caller_of(record).scopes == {Scope.GENERATE}


async def test_revocation_holds_at_once(world: World) -> None:
    issued = await world.keys.create(WISH)
    await world.enter(issued.key)
    await world.keys.revoke(issued.record.id)
    assert (await world.refusal(issued.key)).code == "revoked_api_key"
    # Only who knows the secret learns that it was one.
    assert (await world.refusal(replace(new_key(), id=issued.key.id))).code == "invalid_api_key"


async def test_expiry_holds_to_the_moment(world: World) -> None:
    end = world.time + timedelta(hours=1)
    issued = await world.keys.create(replace(WISH, expires_at=end))
    world.time = end - timedelta(microseconds=1)
    await world.enter(issued.key)
    world.time = end
    assert (await world.refusal(issued.key)).code == "expired_api_key"


async def test_after_a_rotation_the_old_secret_ends_at_once(world: World) -> None:
    issued = await world.keys.create(WISH)
    rotated = await world.keys.rotate(issued.record.id)
    assert rotated.key.secret != issued.key.secret
    await world.enter(rotated.key)
    assert (await world.refusal(issued.key)).code == "invalid_api_key"


async def test_or_after_the_grace_that_was_stated(world: World) -> None:
    issued = await world.keys.create(WISH)
    rotated = await world.keys.rotate(issued.record.id, timedelta(minutes=10))
    world.time += timedelta(minutes=10) - timedelta(microseconds=1)
    await world.enter(issued.key)
    await world.enter(rotated.key)
    world.time += timedelta(microseconds=1)
    assert (await world.refusal(issued.key)).code == "invalid_api_key"
    await world.enter(rotated.key)


async def test_a_second_rotation_ends_the_first_secret(world: World) -> None:
    issued = await world.keys.create(WISH)
    second = await world.keys.rotate(issued.record.id, timedelta(minutes=10))
    third = await world.keys.rotate(issued.record.id, timedelta(minutes=10))
    await world.enter(second.key)
    await world.enter(third.key)
    await world.refusal(issued.key)


@pytest.mark.parametrize(
    ("client", "forwarded", "enters"),
    [
        (("192.0.2.7", 1), [], True),
        (("192.0.3.7", 1), [], False),
        (("192.0.3.7", 1), ["192.0.2.7"], False),
        (("10.1.1.1", 1), ["192.0.2.7"], True),
        (("10.1.1.1", 1), ["192.0.2.7, 192.0.3.7"], False),
        (None, [], False),
    ],
)
async def test_a_key_bound_to_networks_opens_from_there_only(
    world: World, client: tuple[str, int] | None, forwarded: list[str], enters: bool
) -> None:
    issued = await world.keys.create(replace(WISH, networks=["192.0.2.0/24", "2001:db8::/32"]))
    if enters:
        await world.enter(issued.key, client, *forwarded)
    else:
        error = await world.refusal(issued.key, client, *forwarded)
        assert isinstance(error, Forbidden)
        assert error.code == "network_not_allowed"


async def test_while_the_database_is_away_keys_of_the_last_minute_go_on(world: World) -> None:
    known, unknown = await world.keys.create(WISH), await world.keys.create(WISH)
    await world.enter(known.key)
    world.away = True
    world.seconds += GRACE_SECONDS
    assert (await world.enter(known.key)).key_id == known.record.id
    # A secret is still compared, and what was known to end still ends.
    assert isinstance(await world.refusal(replace(new_key(), id=known.key.id)), Unauthorized)
    # Others cannot be told apart from strangers.
    refused = await world.refusal(unknown.key)
    assert isinstance(refused, StorageUnavailable)
    assert refused.retry_after
    # Entering by memory does not prolong the memory.
    world.seconds += 0.001
    assert isinstance(await world.refusal(known.key), StorageUnavailable)
    world.away = False
    await world.enter(known.key)


async def test_a_key_that_expires_meanwhile_does_so_without_the_database(world: World) -> None:
    issued = await world.keys.create(replace(WISH, expires_at=world.time + timedelta(seconds=30)))
    await world.enter(issued.key)
    world.away = True
    world.time += timedelta(seconds=30)
    assert (await world.refusal(issued.key)).code == "expired_api_key"


async def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    issued: list[IssuedKey] = [await world.keys.create(WISH) for _ in range(3)]
    for each in (issued[0], issued[1], issued[0], issued[2]):
        await world.enter(each.key)
    world.away = True
    await world.enter(issued[0].key)
    await world.enter(issued[2].key)
    await world.refusal(issued[1].key)


async def test_with_postgresql_stopped_and_started(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    """The same with a real outage, on two replicas of which one never saw the key."""
    url = database_url(postgres_url)
    await upgrade(url)
    one, two = Database(url), Database(url)
    worlds = [World(KeyRepository(one)), World(KeyRepository(two))]
    issued = await worlds[0].keys.create(WISH)
    await worlds[0].enter(issued.key)

    postgres_server.stop()
    await worlds[0].enter(issued.key)
    assert isinstance(await worlds[1].refusal(issued.key), StorageUnavailable)

    postgres_server.start()
    for world in worlds:
        while isinstance(await _outcome(world, issued), StorageUnavailable):
            pass
    # A revocation on one replica holds on the other at its next request.
    await worlds[0].keys.revoke(issued.record.id)
    assert (await worlds[1].refusal(issued.key)).code == "revoked_api_key"
    await one.close()
    await two.close()


async def _outcome(world: World, issued: IssuedKey) -> Caller | NeoError:
    try:
        return await world.enter(issued.key)
    except NeoError as error:
        return error


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "line\nbreak"}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"scopes": frozenset()}, "scopes"),
        ({"networks": ["192.0.2.0/24", "everywhere"]}, "networks[1]"),
        ({"networks": ["10.0.0.0/8"] * 65}, "networks"),
        ({"allowed_models": ["a\0b"]}, "allowed_models"),
        ({"allowed_models": ["a"], "default_model": "b"}, "default_model"),
        ({"expires_at": datetime(2026, 3, 1, tzinfo=UTC)}, "expires_at"),
    ],
)
async def test_a_wish_that_cannot_be_granted_names_the_field(
    world: World, change: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await world.keys.create(replace(WISH, **change))  # type: ignore[arg-type]
    assert refused.value.parameter == field


async def test_the_local_key_opens_everything(world: World) -> None:
    caller = await world.enter((await world.keys.create(local_wish())).key)
    assert caller.scopes == set(Scope)
    assert caller.limits == KeyLimits()
