"""Turns of one conversation come one after the other, whoever dies, leaves or loses touch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from ai_core.engine.messages import ChatMessage
from ai_core.errors import SessionBusy, StoreUnavailable
from ai_core.inference.requests import Completion, Usage
from ai_core.inference.sessions import lease as lease_module
from ai_core.inference.sessions.archive import Archive
from ai_core.inference.sessions.lease import Leases
from ai_core.inference.sessions.sessions import NextTurn, Sessions
from ai_core.storage.redis_connection import RedisConnection
from ports import free_port
from servicekit.key_value.embedded import EmbeddedStore
from servicekit.key_value.port import KeyValueStore
from servicekit.key_value.redis_store import RedisStore
from servicekit.storage.sealing import PlainSeal, SecretSeal

PATIENCE = 20.0


@pytest.fixture(params=["embedded", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[KeyValueStore]:
    if request.param == "embedded":
        yield EmbeddedStore(1_000_000)
        return
    connection = RedisConnection(request.getfixturevalue("redis_url"), timeout=PATIENCE)
    redis = RedisStore(connection, prefix="neo:")
    yield redis
    await redis.close()
    await connection.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "POLL_SECONDS", 0.01)


async def test_one_holds_it_and_the_others_follow_in_their_order(store: KeyValueStore) -> None:
    leases = Leases(store)
    order: list[int] = []

    async def hold(number: int) -> None:
        async with leases.hold("s", PATIENCE):
            order.append(number)
            await asyncio.sleep(0)
            assert order[-1] == number

    await asyncio.gather(*(hold(number) for number in range(10)))
    assert order == list(range(10))


async def test_names_do_not_wait_for_each_other(store: KeyValueStore) -> None:
    leases = Leases(store)
    async with leases.hold("a", PATIENCE), leases.hold("b", PATIENCE):
        pass


@pytest.mark.usefixtures("quick")
async def test_another_replica_waits_until_it_is_given_back(store: KeyValueStore) -> None:
    one, two = Leases(store), Leases(store)
    async with one.hold("s", PATIENCE):
        waiting = asyncio.create_task(enter(two, PATIENCE))
        # Longer than a lease lasts: it is renewed meanwhile.
        await asyncio.sleep(0.5)
        assert not waiting.done()
    await waiting


async def enter(leases: Leases, patience: float) -> None:
    async with leases.hold("s", patience):
        pass


@pytest.mark.usefixtures("quick")
async def test_a_replica_that_died_holds_up_the_others_for_the_length_of_a_lease(
    store: KeyValueStore,
) -> None:
    assert await store.swap("s", None, b"of somebody who is gone", lease_module.LEASE_SECONDS)
    await enter(Leases(store), PATIENCE)


@pytest.mark.usefixtures("quick")
async def test_patience_ends(store: KeyValueStore) -> None:
    one, two = Leases(store), Leases(store)
    async with one.hold("s", PATIENCE):
        for waiting in (one, two):
            with pytest.raises(SessionBusy) as caught:
                await enter(waiting, 0.05)
            assert caught.value.retry_after is not None
    await enter(one, PATIENCE)
    await enter(two, PATIENCE)


async def test_too_many_who_wait_are_refused_at_once(store: KeyValueStore) -> None:
    leases = Leases(store)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(leases.hold("s", PATIENCE))
        waiting = [asyncio.create_task(enter(leases, PATIENCE)) for _ in range(lease_module.MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(SessionBusy):
            await enter(leases, PATIENCE)
    await asyncio.gather(*waiting)


async def test_who_leaves_while_waiting_holds_up_nobody_and_nothing_stays_behind(
    store: KeyValueStore,
) -> None:
    leases = Leases(store)
    async with leases.hold("s", PATIENCE):
        leaving = [asyncio.create_task(enter(leases, PATIENCE)) for _ in range(3)]
        staying = asyncio.create_task(enter(leases, PATIENCE))
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
    await staying
    assert not leases._locks
    assert await store.get("s") is None


async def test_without_a_store_nobody_is_let_in_and_nothing_stays_behind() -> None:
    connection = RedisConnection(f"redis://127.0.0.1:{free_port()}/0")
    store = RedisStore(connection)
    leases = Leases(store)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await enter(leases, PATIENCE)
    assert not leases._locks
    await store.close()
    await connection.close()


def sessions_over(store: KeyValueStore, secret: bytes | None = None) -> Sessions:
    seal = PlainSeal() if secret is None else SecretSeal(secret, "sessions")
    return Sessions(Archive(store, seal, ttl=1000.0), max_turns=20)


def said(text: str) -> list[ChatMessage]:
    return [ChatMessage("user", text)]


def answered(text: str, reason: str = "stop") -> Completion:
    return Completion("m", text, reason, Usage(5, 1, 0), 0.1)  # type: ignore[arg-type]


async def speak(sessions: Sessions, text: str, answer: str) -> None:
    async with sessions.turn("key", "s", said(text), PATIENCE) as turn:
        await turn.record(answered(answer))


async def contents(sessions: Sessions) -> list[str]:
    conversation, _ = await sessions.read("key", "s")
    return [message.content for message in conversation.messages]


async def test_a_replica_that_lost_its_lease_loses_no_turn(store: KeyValueStore) -> None:
    """The store forgot the lease, and the other replica was quicker: both turns were answered."""
    one, two = sessions_over(store), sessions_over(store)
    await speak(one, "a", "A")
    async with one.turn("key", "s", said("b"), PATIENCE) as slow:
        await store.delete("lease:" + Archive(store, PlainSeal(), ttl=1.0).place("key", "s"))
        await speak(two, "c", "C")
        await slow.record(answered("B"))
    assert await contents(one) == ["a", "A", "c", "C", "b", "B"]


async def test_two_replicas_may_begin_the_same_session_at_once(store: KeyValueStore) -> None:
    one, two = sessions_over(store), sessions_over(store)
    async with one.turn("key", "s", said("b"), PATIENCE) as slow:
        await store.delete("lease:" + Archive(store, PlainSeal(), ttl=1.0).place("key", "s"))
        await speak(two, "c", "C")
        await slow.record(answered("B"))
    assert await contents(one) == ["c", "C", "b", "B"]


async def test_an_answer_that_was_cut_by_the_filter_is_not_kept(store: KeyValueStore) -> None:
    sessions = sessions_over(store)
    await speak(sessions, "a", "A")
    async with sessions.turn("key", "s", said("b"), PATIENCE) as turn:
        await turn.record(answered("half", "content_filter"))
    assert await contents(sessions) == ["a", "A"]


async def test_with_another_secret_a_session_is_over_and_may_begin_again(store: KeyValueStore) -> None:
    await speak(sessions_over(store, b"one"), "a", "A")
    other = sessions_over(store, b"two")
    assert await other.list("key", 10) == []
    plain = sessions_over(store)
    await speak(plain, "b", "B")
    assert await contents(plain) == ["b", "B"]


async def test_what_cannot_be_read_is_replaced(store: KeyValueStore) -> None:
    sessions = sessions_over(store)
    await store.set(Archive(store, PlainSeal(), ttl=1.0).place("key", "s"), b"\x00rubbish", 100.0)
    await speak(sessions, "a", "A")
    assert await contents(sessions) == ["a", "A"]


async def test_shortening_takes_a_quarter_each_time_and_ends_with_what_is_new(store: KeyValueStore) -> None:
    sessions = sessions_over(store)
    for number in range(16):
        await speak(sessions, f"{number}", "x")
    async with sessions.turn("key", "s", said("new"), PATIENCE) as turn:
        left = [len(turn.messages)]
        while turn.shorten():
            left.append(len(turn.messages))
        assert left[:3] == [33, 25, 19]
        assert turn.messages == said("new")
        assert isinstance(turn, NextTurn)
